package workload

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// labelHash is the label of a ControllerRevision that says the hash in its name.
const labelHash = "controller.kubernetes.io/hash"

// templates is a set whose templates are kept as ControllerRevisions.
type templates struct {
	client     client.Client
	owner      client.Object
	kind       schema.GroupVersionKind
	template   *corev1.PodTemplateSpec
	collisions *int32
}

// list reads the owner's revisions, oldest first.
func (t templates) list(ctx context.Context) ([]*appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := t.client.List(ctx, &list, client.InNamespace(t.owner.GetNamespace())); err != nil {
		return nil, err
	}
	var mine []*appsv1.ControllerRevision
	for i := range list.Items {
		if ref := metav1.GetControllerOf(&list.Items[i]); ref != nil && ref.UID == t.owner.GetUID() && list.Items[i].DeletionTimestamp == nil {
			mine = append(mine, &list.Items[i])
		}
	}
	slices.SortStableFunc(mine, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), api.Older(a, b))
	})
	return mine, nil
}

// errTaken says that a revision's name is somebody else's: the count of collisions is raised.
var errTaken = fmt.Errorf("the name is taken")

// newest makes sure that the newest of the revisions is that of the template as it is now,
// and returns all, oldest first. A template that was there before gets its revision back,
// under a new number.
func (t templates) newest(ctx context.Context) ([]*appsv1.ControllerRevision, error) {
	all, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	number := int64(1)
	if len(all) > 0 {
		number = all[len(all)-1].Revision + 1
	}
	found := slices.IndexFunc(all, func(r *appsv1.ControllerRevision) bool {
		was, err := templateOf(r)
		return err == nil && equality.Semantic.DeepEqual(was, t.template)
	})
	if found == len(all)-1 && found >= 0 {
		return all, nil
	}
	if found >= 0 {
		again := all[found].DeepCopy()
		again.Revision = number
		if err := t.client.Update(ctx, again); err != nil {
			return nil, err
		}
		return append(slices.Delete(all, found, found+1), again), nil
	}
	r, err := t.make(number)
	if err != nil {
		return nil, err
	}
	if err = t.client.Create(ctx, r); apierrors.IsAlreadyExists(err) {
		return nil, t.taken(ctx, r)
	}
	return append(all, r), err
}

// taken is nil-safe for a second process: a revision that it made is seen at the next look.
func (t templates) taken(ctx context.Context, r *appsv1.ControllerRevision) error {
	var there appsv1.ControllerRevision
	if err := t.client.Get(ctx, client.ObjectKeyFromObject(r), &there); err != nil {
		return err
	}
	if ref := metav1.GetControllerOf(&there); ref != nil && ref.UID == t.owner.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Group: appsv1.GroupName, Resource: "controllerrevisions"}, r.Name, fmt.Errorf("was made meanwhile"))
	}
	return errTaken
}

func (t templates) make(number int64) (*appsv1.ControllerRevision, error) {
	plain, err := runtime.DefaultUnstructuredConverter.ToUnstructured(t.template)
	if err != nil {
		return nil, err
	}
	plain["$patch"] = "replace"
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"template": plain}})
	if err != nil {
		return nil, err
	}
	h := fnv.New32()
	_, _ = h.Write(data)
	if t.collisions != nil {
		_, _ = h.Write([]byte(strconv.FormatInt(int64(*t.collisions), 10)))
	}
	hash := rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
	name := t.owner.GetName()
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.owner.GetNamespace(), Name: name[:min(len(name), 223)] + "-" + hash,
			Labels: with(t.template.Labels, labelHash, hash), Annotations: maps.Clone(t.owner.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(t.owner, t.kind)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}, nil
}

// templateOf reads the template that a revision keeps.
func templateOf(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var kept struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &kept); err != nil {
		return nil, fmt.Errorf("controllerrevision %s/%s: data: %w", r.Namespace, r.Name, err)
	}
	return &kept.Spec.Template, nil
}

// old lists the revisions that the history limit leaves no room for and that nothing uses,
// oldest first.
func old(all []*appsv1.ControllerRevision, limit *int32, used map[string]bool) []*appsv1.ControllerRevision {
	if limit == nil {
		return nil
	}
	idle := slices.DeleteFunc(slices.Clone(all), func(r *appsv1.ControllerRevision) bool { return used[r.Name] })
	return idle[:max(len(idle)-int(*limit), 0)]
}

func (t templates) remove(ctx context.Context, revisions []*appsv1.ControllerRevision) error {
	for _, r := range revisions {
		uid := r.UID
		if err := t.client.Delete(ctx, r, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
