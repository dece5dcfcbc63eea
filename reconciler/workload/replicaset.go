package workload

import (
	"context"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

type replicaSets struct{ Deps }

func (c replicaSets) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var rs appsv1.ReplicaSet
	if err := c.Client.Get(ctx, key, &rs); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if rs.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return loop.Result{}, err
	}
	owner := pods.Owner{
		Client: c.Client, Events: c.Events, Object: &rs, Kind: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), Selector: selector,
	}
	all, err := owner.Claim(ctx)
	if err != nil {
		return loop.Result{}, err
	}
	now := c.Clock()
	want := pods.Keep(number(rs.Spec.Replicas), all, now)
	failed := owner.CarryOut(ctx, &rs.Spec.Template, want)
	if want.Create > 0 || len(want.Delete) > 0 {
		if all, err = owner.Claim(ctx); err != nil {
			return loop.Result{}, err
		}
	}
	status, next := SetStatus(&rs, all, now)
	status.Conditions = setFailure(status.Conditions, failed, want.Create > 0, now)
	if !equality.Semantic.DeepEqual(status, rs.Status) {
		rs.Status = status
		if err := c.Client.Status().Update(ctx, &rs); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	return loop.Result{After: pods.Sooner(next, want.After)}, failed
}

// SetStatus computes a ReplicaSet's status; conditions are kept. It also says in how long
// time alone makes a pod available; 0: never.
func SetStatus(rs *appsv1.ReplicaSet, all []*corev1.Pod, now time.Time) (appsv1.ReplicaSetStatus, time.Duration) {
	s := *rs.Status.DeepCopy()
	n := pods.CountOf(all, rs.Spec.MinReadySeconds, now)
	s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration = n.Live, n.Ready, n.Available, rs.Generation
	s.TerminatingReplicas, s.FullyLabeledReplicas = &n.Leaving, 0
	template := labels.SelectorFromSet(rs.Spec.Template.Labels)
	for _, p := range all {
		if pods.Live(p) && template.Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
	}
	return s, n.Next
}

// setFailure sets the condition ReplicaFailure where pods could not be made or deleted,
// and removes it where they could.
func setFailure(all []appsv1.ReplicaSetCondition, failed error, creating bool, now time.Time) []appsv1.ReplicaSetCondition {
	is := func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure }
	rest := slices.DeleteFunc(slices.Clone(all), is)
	if failed == nil {
		return rest
	}
	c := appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(now), Reason: "FailedDelete", Message: failed.Error(),
	}
	if creating {
		c.Reason = "FailedCreate"
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		c.LastTransitionTime = all[i].LastTransitionTime
		if all[i].Message == c.Message && all[i].Reason == c.Reason {
			return all
		}
	}
	return append(rest, c)
}
