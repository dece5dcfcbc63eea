package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

type deployments struct{ Deps }

func (c deployments) pass(ctx context.Context, key loop.Key) (acted bool, after time.Duration, err error) {
	var d appsv1.Deployment
	if err := c.Client.Get(ctx, key, &d); err != nil {
		return false, 0, client.IgnoreNotFound(err)
	}
	r := Rollout{Deployment: &d, Now: c.Clock()}
	if r.Sets, err = c.sets(ctx, &d); err != nil {
		return false, 0, err
	}
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(d.Namespace)); err != nil {
		return false, 0, err
	}
	r.Pods = CountsOf(r.Sets, list.Items, r.Now)
	want := Decide(r)
	if !want.nothing() {
		return true, 0, c.carryOut(ctx, r, want)
	}
	if err := c.noteRevision(ctx, r); err != nil {
		return false, 0, err
	}
	status, deadline := Status(r)
	if !equality.Semantic.DeepEqual(status, d.Status) {
		d.Status = status
		if err := c.Client.Status().Update(ctx, &d); err != nil {
			return false, 0, client.IgnoreNotFound(err)
		}
	}
	return false, pods.Sooner(want.After, deadline), nil
}

// sets lists the ReplicaSets that the Deployment owns and selects. An owned one that is no
// longer selected is let go, a selected one without an owner is taken in.
func (c deployments) sets(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, err
	}
	var list appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &list, client.InNamespace(d.Namespace)); err != nil {
		return nil, err
	}
	var mine []*appsv1.ReplicaSet
	for i := range list.Items {
		rs := &list.Items[i]
		selected, owner := !selector.Empty() && selector.Matches(labels.Set(rs.Labels)), metav1.GetControllerOf(rs)
		switch {
		case owner != nil && owner.UID == d.UID && selected:
		case owner != nil && owner.UID == d.UID && rs.DeletionTimestamp == nil:
			rs.OwnerReferences = slices.DeleteFunc(rs.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == d.UID })
			if err := c.Client.Update(ctx, rs); client.IgnoreNotFound(err) != nil {
				return nil, err
			}
			continue
		case owner == nil && selected && rs.DeletionTimestamp == nil && d.DeletionTimestamp == nil:
			rs.OwnerReferences = append(rs.OwnerReferences, *metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment")))
			if err := c.Client.Update(ctx, rs); err != nil {
				return nil, err
			}
		default:
			continue
		}
		mine = append(mine, rs)
	}
	return mine, nil
}

func (c deployments) carryOut(ctx context.Context, r Rollout, want Decision) error {
	d := r.Deployment
	if want.Create != nil {
		return c.create(ctx, r, want.Create)
	}
	for _, rs := range want.Update {
		from := int32(0)
		for _, old := range r.Sets {
			if old.Name == rs.Name {
				from = number(old.Spec.Replicas)
			}
		}
		if err := c.Client.Update(ctx, rs); err != nil {
			return err
		}
		if to := number(rs.Spec.Replicas); to != from {
			c.tellScaled(d, rs, from, to)
		}
	}
	for _, rs := range want.Delete {
		uid := rs.UID
		if err := c.Client.Delete(ctx, rs, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func (c deployments) tellScaled(d *appsv1.Deployment, rs *appsv1.ReplicaSet, from, to int32) {
	how := "up"
	if to < from {
		how = "down"
	}
	c.Events.Event(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", how, rs.Name, from, to)
}

// create makes the set of a new template and notes that the rollout began. That it is there
// already means that another process made it; one of another template or owner has taken
// the name, and the next try gets another.
func (c deployments) create(ctx context.Context, r Rollout, rs *appsv1.ReplicaSet) error {
	d := r.Deployment
	err := c.Client.Create(ctx, rs)
	if apierrors.IsAlreadyExists(err) {
		return c.collide(ctx, d, rs)
	}
	if err != nil {
		err = fmt.Errorf("deployment %s/%s: create replica set %s: %w", d.Namespace, d.Name, rs.Name, err)
		c.Events.Event(d, corev1.EventTypeWarning, reasonCreateError, "Failed to create new replica set %q: %v", rs.Name, err)
		if hasDeadline(d) {
			d.Status.Conditions = setCondition(d.Status.Conditions, progressing(corev1.ConditionFalse, reasonCreateError, err.Error()), r.Now)
			if e := c.Client.Status().Update(ctx, d); e != nil {
				c.Log.Warn("status not written", "object", d.Namespace+"/"+d.Name, "error", e)
			}
		}
		return err
	}
	if n := number(rs.Spec.Replicas); n > 0 {
		c.tellScaled(d, rs, 0, n)
	}
	if !hasDeadline(d) {
		return nil
	}
	d.Status.Conditions = setCondition(d.Status.Conditions, progressing(corev1.ConditionTrue, reasonCreated, fmt.Sprintf("Created new replica set %q", rs.Name)), r.Now)
	return c.Client.Status().Update(ctx, d)
}

func (c deployments) collide(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) error {
	var there appsv1.ReplicaSet
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(rs), &there); err != nil {
		return client.IgnoreNotFound(err)
	}
	if owner := metav1.GetControllerOf(&there); owner != nil && owner.UID == d.UID && sameTemplate(&there.Spec.Template, &rs.Spec.Template) {
		return nil
	}
	n := int32(1)
	if d.Status.CollisionCount != nil {
		n += *d.Status.CollisionCount
	}
	d.Status.CollisionCount = &n
	return c.Client.Status().Update(ctx, d)
}

// noteRevision notes on the Deployment which revision its template is.
func (c deployments) noteRevision(ctx context.Context, r Rollout) error {
	d := r.Deployment
	current, _ := r.split()
	if current == nil || d.DeletionTimestamp != nil || d.Annotations[annotationRevision] == current.Annotations[annotationRevision] {
		return nil
	}
	status := d.Status
	d.Annotations = with(d.Annotations, annotationRevision, current.Annotations[annotationRevision])
	if err := c.Client.Update(ctx, d); err != nil {
		return err
	}
	d.Status = status
	return nil
}
