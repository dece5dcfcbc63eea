package pods

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Owner is the object that pods belong to: it makes them, deletes them and takes them in.
type Owner struct {
	Client client.Client
	Events Recorder
	// Object that owns, and its kind, which typed objects do not say.
	Object client.Object
	Kind   schema.GroupVersionKind
	// Selector of its pods. One that is empty selects nothing.
	Selector labels.Selector
	// Fits says that a pod without an owner may be taken in; nil: every selected one that is live.
	Fits func(*corev1.Pod) bool
}

// String names the owner in errors: `replicaset shop/web`.
func (o Owner) String() string {
	return fmt.Sprintf("%s %s/%s", strings.ToLower(o.Kind.Kind), o.Object.GetNamespace(), o.Object.GetName())
}

// Ref is the reference that its pods carry.
func (o Owner) Ref() metav1.OwnerReference { return *metav1.NewControllerRef(o.Object, o.Kind) }

// Claim lists the pods of the owner: those that it owns and selects. An owned pod that is
// no longer selected is let go, a selected one without an owner is taken in.
func (o Owner) Claim(ctx context.Context) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := o.Client.List(ctx, &list, client.InNamespace(o.Object.GetNamespace())); err != nil {
		return nil, err
	}
	var mine []*corev1.Pod
	for i := range list.Items {
		p := &list.Items[i]
		claimed, err := o.claim(ctx, p)
		if err != nil {
			return nil, err
		}
		if claimed {
			mine = append(mine, p)
		}
	}
	return mine, nil
}

func (o Owner) claim(ctx context.Context, p *corev1.Pod) (bool, error) {
	uid := o.Object.GetUID()
	selected, owner := !o.Selector.Empty() && o.Selector.Matches(labels.Set(p.Labels)), metav1.GetControllerOf(p)
	switch {
	case owner != nil && owner.UID == uid && selected:
		return true, nil
	case owner != nil && owner.UID == uid && !Leaving(p):
		p.OwnerReferences = slices.DeleteFunc(p.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == uid })
		return false, client.IgnoreNotFound(o.Client.Update(ctx, p))
	case owner == nil && selected && Live(p) && o.Object.GetDeletionTimestamp() == nil && (o.Fits == nil || o.Fits(p)):
		p.OwnerReferences = append(p.OwnerReferences, o.Ref())
		err := o.Client.Update(ctx, p)
		return err == nil, client.IgnoreNotFound(err)
	}
	return false, nil
}

// New makes one pod of a template, under a name nobody had.
func (o Owner) New(template *corev1.PodTemplateSpec) *corev1.Pod {
	t := template.DeepCopy()
	prefix := o.Object.GetName()
	if len(prefix) > 247 {
		prefix = prefix[:247]
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Object.GetNamespace(), Name: prefix + "-" + rand.String(5), GenerateName: prefix + "-",
			Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{o.Ref()},
		},
		Spec: t.Spec,
	}
}

// CarryOut makes and deletes what a change asks for. Where a pod cannot be made, none is
// deleted.
func (o Owner) CarryOut(ctx context.Context, template *corev1.PodTemplateSpec, c Change) error {
	for range c.Create {
		pod := o.New(template)
		err := o.Client.Create(ctx, pod)
		if apierrors.IsAlreadyExists(err) {
			pod = o.New(template)
			err = o.Client.Create(ctx, pod)
		}
		if err := o.Made(pod, err); err != nil {
			return err
		}
	}
	for _, p := range c.Delete {
		if err := o.Delete(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Made tells of a pod that was made, or that could not be.
func (o Owner) Made(pod *corev1.Pod, err error) error {
	if err != nil {
		o.Events.Event(o.Object, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
		return fmt.Errorf("%v: create pod: %w", o, err)
	}
	o.Events.Event(o.Object, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %s", pod.Name)
	return nil
}

// Delete deletes a pod gracefully. One that is gone, or that changed meanwhile, is no error.
func (o Owner) Delete(ctx context.Context, p *corev1.Pod) error {
	uid := p.UID
	err := o.Client.Delete(ctx, p, client.Preconditions{UID: &uid})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil
	case err != nil:
		o.Events.Event(o.Object, corev1.EventTypeWarning, "FailedDelete", "Error deleting %s: %v", p.Name, err)
		return fmt.Errorf("%v: delete pod %s: %w", o, p.Name, err)
	}
	o.Events.Event(o.Object, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %s", p.Name)
	return nil
}
