package deploy

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

// DecideReplicas compares a ReplicationController with its pods.
func DecideReplicas(rc *corev1.ReplicationController, all []*corev1.Pod, now time.Time) pods.Change {
	return pods.Keep(replicas(rc), all, now)
}

// ReplicasStatus computes a ReplicationController's status; conditions are kept.
func ReplicasStatus(rc *corev1.ReplicationController, all []*corev1.Pod, now time.Time) (corev1.ReplicationControllerStatus, time.Duration) {
	s := *rc.Status.DeepCopy()
	n := pods.CountOf(all, rc.Spec.MinReadySeconds, now)
	s.Replicas, s.AvailableReplicas, s.ObservedGeneration = n.Live, n.Available, rc.Generation
	s.ReadyReplicas, s.FullyLabeledReplicas = n.Ready, 0
	template := labels.Set{}
	if rc.Spec.Template != nil {
		template = rc.Spec.Template.Labels
	}
	for _, p := range all {
		if pods.Live(p) && labels.SelectorFromSet(template).Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
	}
	return s, n.Next
}

type replication struct{ Deps }

func (c replication) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var rc corev1.ReplicationController
	if err := c.Client.Get(ctx, key, &rc); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if rc.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	owner := c.owner(&rc)
	all, err := owner.Claim(ctx)
	if err != nil {
		return loop.Result{}, err
	}
	now := c.Clock()
	want := DecideReplicas(&rc, all, now)
	failed := owner.CarryOut(ctx, rc.Spec.Template, want)

	all, err = owner.Claim(ctx)
	if err != nil {
		return loop.Result{}, err
	}
	status, next := ReplicasStatus(&rc, all, now)
	status.Conditions = replicaFailure(status.Conditions, failed, now)
	if !equality.Semantic.DeepEqual(status, rc.Status) {
		rc.Status = status
		if err := c.Client.Status().Update(ctx, &rc); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	return loop.Result{After: pods.Sooner(next, want.After)}, failed
}

// owner owns the pods of a ReplicationController.
func (c replication) owner(rc *corev1.ReplicationController) pods.Owner {
	return pods.Owner{
		Client: c.Client, Events: c.Events, Object: rc, Kind: corev1.SchemeGroupVersion.WithKind("ReplicationController"),
		Selector: labels.SelectorFromSet(rc.Spec.Selector),
	}
}

// replicaFailure sets the condition ReplicaFailure where pods could not be made, and
// removes it where they could.
func replicaFailure(all []corev1.ReplicationControllerCondition, failed error, now time.Time) []corev1.ReplicationControllerCondition {
	is := func(c corev1.ReplicationControllerCondition) bool {
		return c.Type == corev1.ReplicationControllerReplicaFailure
	}
	if failed == nil {
		return slices.DeleteFunc(slices.Clone(all), is)
	}
	c := corev1.ReplicationControllerCondition{
		Type: corev1.ReplicationControllerReplicaFailure, Status: corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(now), Reason: "FailedCreate", Message: failed.Error(),
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		if all[i].Message == c.Message {
			return all
		}
		c.LastTransitionTime = all[i].LastTransitionTime
		return append(slices.DeleteFunc(slices.Clone(all), is), c)
	}
	return append(slices.Clone(all), c)
}
