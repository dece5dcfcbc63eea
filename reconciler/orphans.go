package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

const (
	// maxOrphans is how many orphans a status names; one more line says how many there are.
	maxOrphans = 50
	// orphansEvery is how often a project is searched for orphans.
	orphansEvery = 5 * time.Minute
)

// orphans are the objects of a project that nobody answers for: no Application declares
// them, and no controller owns them. Git would never delete them, and never make them anew.
func (r *Reconciler) orphans(ctx context.Context, project string) ([]string, error) {
	owners, err := r.owners(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, k := range api.Kinds() {
		if !k.Namespaced || k.Runtime || k.Kind == "Application" {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.GroupVersionKind.GroupVersion().WithKind(k.Kind + "List"))
		if err := r.Client.List(ctx, list, client.InNamespace(project)); err != nil {
			return nil, fmt.Errorf("read the %s of %s: %w", k.Resource, project, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			o.SetGroupVersionKind(k.GroupVersionKind)
			if isOrphan(o, owners) {
				found = append(found, api.ObjectName(o))
			}
		}
	}
	slices.Sort(found)
	if n := len(found) - maxOrphans; n > 0 {
		found = append(found[:maxOrphans], fmt.Sprintf("and %d more", n))
	}
	return found, nil
}

// owners are the Applications that there are.
func (r *Reconciler) owners(ctx context.Context) (map[types.NamespacedName]bool, error) {
	var apps v1alpha1.ApplicationList
	if err := r.Client.List(ctx, &apps); err != nil {
		return nil, fmt.Errorf("read the applications: %w", err)
	}
	out := map[types.NamespacedName]bool{}
	for _, a := range apps.Items {
		out[types.NamespacedName{Namespace: a.Namespace, Name: a.Name}] = true
	}
	return out, nil
}

func isOrphan(o *unstructured.Unstructured, owners map[types.NamespacedName]bool) bool {
	if l := o.GetLabels(); owners[types.NamespacedName{Namespace: l[OwnerNamespace], Name: l[OwnerName]}] {
		return false
	}
	return len(o.GetOwnerReferences()) == 0 && o.GetDeletionTimestamp() == nil && !furnishes(o)
}

// furnishes says that the platform makes an object in every project, or for a service account.
func furnishes(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "ServiceAccount":
		return slices.Contains([]string{"builder", "default", "deployer"}, o.GetName())
	case "RoleBinding":
		return o.GetName() == "admin" || strings.HasPrefix(o.GetName(), "system:")
	case "Secret":
		kind, _, _ := unstructured.NestedString(o.Object, "type")
		return kind == "kubernetes.io/service-account-token" || o.GetAnnotations()["kubernetes.io/service-account.name"] != ""
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
	found, err := v.orphans(ctx, project)
	if err != nil {
		return 0, err
	}
	app.Status.Orphans = found
	v.mu.Lock()
	v.searched[key] = v.Now()
	v.mu.Unlock()
	return orphansEvery, nil
}
