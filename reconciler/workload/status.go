package workload

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/reconciler/pods"
)

// The reasons of a Deployment's condition Progressing, Kubernetes' own.
const (
	reasonCreated     = "NewReplicaSetCreated"
	reasonFound       = "FoundNewReplicaSet"
	reasonUpdated     = "ReplicaSetUpdated"
	reasonAvailable   = "NewReplicaSetAvailable"
	reasonCreateError = "ReplicaSetCreateError"
	reasonTimedOut    = "ProgressDeadlineExceeded"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
)

// counted counts pods. Conditions, collisions and the observed generation are kept.
func (r Rollout) counted() appsv1.DeploymentStatus {
	s := *r.Deployment.Status.DeepCopy()
	current, _ := r.split()
	s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
	leaving := int32(0)
	for _, rs := range r.Sets {
		n := r.Pods[rs.Name]
		s.Replicas += n.Live
		s.ReadyReplicas += n.Ready
		s.AvailableReplicas += n.Available
		leaving += n.Leaving
		if rs == current {
			s.UpdatedReplicas = n.Live
		}
	}
	s.TerminatingReplicas = &leaving
	s.UnavailableReplicas = max(total(r.Sets)-s.AvailableReplicas, 0)
	return s
}

// Status computes a Deployment's status, and in how long the deadline of its progress may
// be over; 0: never.
func Status(r Rollout) (appsv1.DeploymentStatus, time.Duration) {
	d := r.Deployment
	s := r.counted()
	s.ObservedGeneration = d.Generation
	s.Conditions = setCondition(s.Conditions, r.availability(s.AvailableReplicas), r.Now)
	switch {
	case !hasDeadline(d):
		s.Conditions = without(s.Conditions, appsv1.DeploymentProgressing)
	case d.DeletionTimestamp == nil:
		s.Conditions = r.progress(s)
	}
	if failure := r.failure(); failure != nil {
		s.Conditions = setCondition(s.Conditions, *failure, r.Now)
	} else {
		s.Conditions = without(s.Conditions, appsv1.DeploymentReplicaFailure)
	}
	return s, r.deadline(s)
}

func (r Rollout) availability(available int32) appsv1.DeploymentCondition {
	_, unavailable := fenceposts(r.Deployment)
	if available >= number(r.Deployment.Spec.Replicas)-unavailable {
		return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue,
			Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."}
	}
	return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse,
		Reason: "MinimumReplicasUnavailable", Message: "Deployment does not have minimum availability."}
}

// progress is the conditions with Progressing as it is after s was counted.
func (r Rollout) progress(s appsv1.DeploymentStatus) []appsv1.DeploymentCondition {
	d, old := r.Deployment, condition(s.Conditions, appsv1.DeploymentProgressing)
	set := func(status corev1.ConditionStatus, reason, message string) []appsv1.DeploymentCondition {
		return setCondition(s.Conditions, progressing(status, reason, message), r.Now)
	}
	timedOut := old != nil && old.Reason == reasonTimedOut
	paused := old != nil && old.Reason == reasonPaused
	current, _ := r.split()
	what := fmt.Sprintf("Deployment %q", d.Name)
	if current != nil {
		what = fmt.Sprintf("ReplicaSet %q", current.Name)
	}
	switch {
	case d.Spec.Paused && timedOut, d.Spec.Paused && paused:
		return s.Conditions
	case d.Spec.Paused:
		return set(corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case paused:
		return set(corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	case old == nil && current != nil:
		return set(corev1.ConditionTrue, reasonFound, fmt.Sprintf("Found new replica set %q", current.Name))
	case old != nil && old.Reason == reasonAvailable && s.Replicas == s.UpdatedReplicas:
		return s.Conditions
	case r.complete():
		return set(corev1.ConditionTrue, reasonAvailable, what+" has successfully progressed.")
	case moved(d.Status, s):
		// The time of the last progress counts, though nothing else is new.
		c := progressing(corev1.ConditionTrue, reasonUpdated, what+" is progressing.")
		c.LastUpdateTime, c.LastTransitionTime = metav1.NewTime(r.Now), metav1.NewTime(r.Now)
		if old != nil && old.Status == corev1.ConditionTrue {
			c.LastTransitionTime = old.LastTransitionTime
		}
		return append(without(s.Conditions, appsv1.DeploymentProgressing), c)
	case old != nil && old.Reason != reasonAvailable && r.overdue(old):
		return set(corev1.ConditionFalse, reasonTimedOut, what+" has timed out progressing.")
	}
	return s.Conditions
}

// moved says that a rollout got further between two statuses.
func moved(before, now appsv1.DeploymentStatus) bool {
	return now.UpdatedReplicas > before.UpdatedReplicas ||
		now.Replicas-now.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		now.ReadyReplicas > before.ReadyReplicas || now.AvailableReplicas > before.AvailableReplicas
}

func hasDeadline(d *appsv1.Deployment) bool {
	l := d.Spec.ProgressDeadlineSeconds
	return l != nil && *l != math.MaxInt32
}

func (r Rollout) overdue(c *appsv1.DeploymentCondition) bool {
	return r.Now.After(c.LastUpdateTime.Add(time.Duration(*r.Deployment.Spec.ProgressDeadlineSeconds) * time.Second))
}

// deadline is in how long a rollout that does not move is over its deadline.
func (r Rollout) deadline(s appsv1.DeploymentStatus) time.Duration {
	c := condition(s.Conditions, appsv1.DeploymentProgressing)
	if c == nil || !hasDeadline(r.Deployment) || r.Deployment.Spec.Paused || c.Reason == reasonAvailable || c.Reason == reasonTimedOut {
		return 0
	}
	end := c.LastUpdateTime.Add(time.Duration(*r.Deployment.Spec.ProgressDeadlineSeconds) * time.Second)
	return max(end.Sub(r.Now), 0) + time.Second
}

// failure is what keeps a set from having its pods: the newest set's trouble before others'.
func (r Rollout) failure() *appsv1.DeploymentCondition {
	current, olds := r.split()
	for _, rs := range append([]*appsv1.ReplicaSet{current}, olds...) {
		if rs == nil {
			continue
		}
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message}
			}
		}
	}
	return nil
}

func progressing(status corev1.ConditionStatus, reason, message string) appsv1.DeploymentCondition {
	return appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: status, Reason: reason, Message: message}
}

func condition(all []appsv1.DeploymentCondition, of appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range all {
		if all[i].Type == of {
			return &all[i]
		}
	}
	return nil
}

func without(all []appsv1.DeploymentCondition, of appsv1.DeploymentConditionType) []appsv1.DeploymentCondition {
	return slices.DeleteFunc(slices.Clone(all), func(c appsv1.DeploymentCondition) bool { return c.Type == of })
}

// setCondition puts a condition in its type's place. One of the same status and reason as
// before stays as it was, as in Kubernetes.
func setCondition(all []appsv1.DeploymentCondition, c appsv1.DeploymentCondition, now time.Time) []appsv1.DeploymentCondition {
	c.LastUpdateTime, c.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
	if old := condition(all, c.Type); old != nil {
		if old.Status == c.Status && old.Reason == c.Reason {
			return all
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	return append(without(all, c.Type), c)
}

// CountsOf counts the pods of sets, by the set's name.
func CountsOf(sets []*appsv1.ReplicaSet, all []corev1.Pod, now time.Time) map[string]pods.Count {
	out := map[string]pods.Count{}
	for _, rs := range sets {
		var own []*corev1.Pod
		for i := range all {
			if ref := metav1.GetControllerOf(&all[i]); ref != nil && ref.UID == rs.UID {
				own = append(own, &all[i])
			}
		}
		out[rs.Name] = pods.CountOf(own, rs.Spec.MinReadySeconds, now)
	}
	return out
}
