package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	kappsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/live"
)

const (
	// maxOrphans is how many orphans a status names; one more line says how many there are.
	maxOrphans = 50
	// orphansEvery is how often a project is searched for orphans.
	orphansEvery = 5 * time.Minute
)

// orphanage finds the orphans of projects. All Applications of a project share what it
// found. The live index names the suspects; only they are read.
type orphanage struct {
	client client.Client
	index  *live.Index

	mu sync.Mutex
	// found is what was found, by project; guarded by mu
	found map[string]finding
}

// finding are the orphans of a project at a time.
type finding struct {
	at      time.Time
	orphans []string
}

var errNotFollowed = errors.New("the index has a gap")

// of are the orphans of a project, and when they were found: objects that nobody answers
// for, because no Application declares them, and no controller owns them. Git would never
// delete them, and never make them anew.
func (f *orphanage) of(ctx context.Context, project string, now time.Time) (finding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got, known := f.found[project]; known && now.Sub(got.at) < orphansEvery {
		return got, nil
	}
	kinds := orphanKinds()
	groups := []schema.GroupKind{applicationKind}
	for _, k := range kinds {
		groups = append(groups, k.GroupKind())
	}
	if !f.index.Followed(groups...) {
		return finding{}, errNotFollowed
	}
	maps.DeleteFunc(f.found, func(_ string, old finding) bool { return now.Sub(old.at) >= orphansEvery })
	var suspects []inventoryRef
	for _, k := range kinds {
		f.index.Unclaimed(applicationKind, k.GroupKind(), project, func(name types.NamespacedName) {
			suspects = append(suspects, inventoryRef{GroupVersionKind: k.GroupVersionKind, Namespace: name.Namespace, Name: name.Name})
		})
	}
	got := finding{at: now}
	for _, suspect := range suspects {
		o, err := f.read(ctx, suspect)
		if err != nil {
			return finding{}, err
		}
		if o != nil {
			got.orphans = append(got.orphans, api.ObjectName(o))
		}
	}
	slices.Sort(got.orphans)
	if n := len(got.orphans) - maxOrphans; n > 0 {
		got.orphans = append(got.orphans[:maxOrphans], fmt.Sprintf("and %d more", n))
	}
	f.found[project] = got
	return got, nil
}

func orphanKinds() []api.Kind {
	return slices.DeleteFunc(slices.Clone(api.Kinds()), func(k api.Kind) bool {
		return !k.Namespaced || k.Runtime || k.GroupKind() == applicationKind
	})
}

// read reads a suspect; nil: it is none, or gone.
func (f *orphanage) read(ctx context.Context, suspect inventoryRef) (*unstructured.Unstructured, error) {
	o, err := read(ctx, f.client, suspect)
	if err != nil || o == nil {
		return nil, err
	}
	owner, claimed := claimOf(suspect.GroupKind(), o)
	if kind, _, _ := unstructured.NestedString(o.Object, "type"); !claimed || kind == string(corev1.SecretTypeServiceAccountToken) {
		return nil, nil
	}
	if made, err := f.madeBySet(ctx, o); made || err != nil {
		return nil, err
	}
	if owner != (types.NamespacedName{}) {
		var app v1alpha1.Application
		if err := f.client.Get(ctx, owner, &app); err == nil || !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return o, nil
}

// madeBySet says that an object is the claim of a StatefulSet that is there. One that
// outlived its set holds data that nobody uses.
func (f *orphanage) madeBySet(ctx context.Context, o client.Object) (bool, error) {
	name := o.GetAnnotations()[api.AnnotationSet]
	if name == "" {
		return false, nil
	}
	var set kappsv1.StatefulSet
	err := f.client.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: name}, &set)
	return err == nil, client.IgnoreNotFound(err)
}

// claimOf says which Application answers for an object, the empty name for none; false:
// a controller does, or it is on its way out, or the platform makes it.
func claimOf(gk schema.GroupKind, o client.Object) (owner types.NamespacedName, ok bool) {
	if l := o.GetLabels(); l[OwnerName] != "" {
		owner = types.NamespacedName{Namespace: l[OwnerNamespace], Name: l[OwnerName]}
	}
	return owner, len(o.GetOwnerReferences()) == 0 && o.GetDeletionTimestamp() == nil && !furnishes(gk.Kind, o)
}

// furnishes says that the platform makes an object in every project, or for a service account.
func furnishes(kind string, o client.Object) bool {
	switch kind {
	case "ServiceAccount":
		return slices.Contains([]string{"builder", "default", "deployer"}, o.GetName())
	case "RoleBinding":
		return o.GetName() == "admin" || strings.HasPrefix(o.GetName(), "system:") || o.GetName() == "slipway:applications"
	case "Secret":
		return o.GetAnnotations()[corev1.ServiceAccountNameKey] != ""
	case "ConfigMap":
		return o.GetName() == "openshift-service-ca.crt" || o.GetName() == "kube-root-ca.crt"
	}
	return false
}

// searchOrphans brings status.orphans up to date where it is time, and says when it is next.
func (v *vitals) searchOrphans(ctx context.Context, app *v1alpha1.Application) (time.Duration, error) {
	project, key := app.Spec.Project, client.ObjectKeyFromObject(app)
	if project == "" || v.Target != nil {
		return 0, nil
	}
	v.mu.Lock()
	last, known := v.searched[key]
	v.mu.Unlock()
	if left := orphansEvery - v.Now().Sub(last); known && left > 0 {
		return left, nil
	}
	got, err := v.orphans.of(ctx, project, v.Now())
	if errors.Is(err, errNotFollowed) {
		return time.Second, nil
	}
	if err != nil {
		return 0, err
	}
	app.Status.Orphans = got.orphans
	v.mu.Lock()
	v.searched[key] = got.at
	v.mu.Unlock()
	return max(time.Second, orphansEvery-v.Now().Sub(got.at)), nil
}
