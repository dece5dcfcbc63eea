package deploy

import (
	"fmt"
	"slices"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConfigStatus computes a config's status from its versions. latestVersion and
// details are kept; observed says whether the generation was taken into account.
func ConfigStatus(dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController, observed bool, now time.Time) appsv1.DeploymentConfigStatus {
	s := *dc.Status.DeepCopy()
	s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, s.ReadyReplicas = 0, 0, 0, 0
	total := int32(0)
	for _, rc := range rcs {
		s.Replicas += rc.Status.Replicas
		s.AvailableReplicas += rc.Status.AvailableReplicas
		s.ReadyReplicas += rc.Status.ReadyReplicas
		total += replicas(rc)
	}
	latest := numbered(rcs, dc.Status.LatestVersion)
	if latest != nil {
		s.UpdatedReplicas = latest.Status.Replicas
	}
	s.UnavailableReplicas = max(total-s.AvailableReplicas, 0)
	if observed {
		s.ObservedGeneration = dc.Generation
	}
	s.Conditions = setCondition(s.Conditions, availability(dc, s.AvailableReplicas), now)
	if latest != nil {
		s.Conditions = setCondition(s.Conditions, progress(latest), now)
	}
	return s
}

func availability(dc *appsv1.DeploymentConfig, available int32) appsv1.DeploymentCondition {
	allowed := int32(0)
	if dc.Spec.Strategy.Type == appsv1.DeploymentStrategyTypeRolling {
		_, allowed = fenceposts(dc.Spec.Strategy.RollingParams, dc.Spec.Replicas)
	}
	if available > 0 && available >= dc.Spec.Replicas-allowed {
		return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue,
			Message: "Deployment config has minimum availability."}
	}
	return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse,
		Message: "Deployment config does not have minimum availability."}
}

func progress(latest *corev1.ReplicationController) appsv1.DeploymentCondition {
	say := func(status corev1.ConditionStatus, reason appsv1.DeploymentConditionReason, format string) appsv1.DeploymentCondition {
		return appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: status, Reason: string(reason), Message: fmt.Sprintf(format, latest.Name)}
	}
	switch PhaseOf(latest) {
	case appsv1.DeploymentStatusNew:
		return say(corev1.ConditionTrue, appsv1.NewReplicationControllerCreatedReason, "created new replication controller %q")
	case appsv1.DeploymentStatusComplete:
		return say(corev1.ConditionTrue, appsv1.NewReplicationControllerAvailableReason, "replication controller %q successfully rolled out")
	case appsv1.DeploymentStatusFailed:
		if cancelled(latest) {
			return say(corev1.ConditionFalse, appsv1.RolloutCancelledReason, "rollout of replication controller %q was cancelled")
		}
		c := say(corev1.ConditionFalse, appsv1.ProgressDeadlineExceededReason, "replication controller %q has failed progressing")
		if why := latest.Annotations[appsv1.DeploymentStatusReasonAnnotation]; why != "" {
			c.Message += ": " + why
		}
		return c
	case appsv1.DeploymentStatusRunning:
		return say(corev1.ConditionTrue, appsv1.ReplicationControllerUpdatedReason, "replication controller %q is progressing")
	}
	return say(corev1.ConditionUnknown, "", "replication controller %q is waiting for its rollout to begin")
}

// setCondition puts a condition in its type's place. A condition that says the same
// as before keeps its times, so that nothing is written for nothing.
func setCondition(all []appsv1.DeploymentCondition, c appsv1.DeploymentCondition, now time.Time) []appsv1.DeploymentCondition {
	c.LastUpdateTime, c.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
	i := slices.IndexFunc(all, func(o appsv1.DeploymentCondition) bool { return o.Type == c.Type })
	if i < 0 {
		return append(all, c)
	}
	old := all[i]
	if old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
		if old.Reason == c.Reason && old.Message == c.Message {
			return all
		}
	}
	all = slices.Clone(all)
	all[i] = c
	return all
}
