package health

import (
	"cmp"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const notLookedAt = "its newest version has not been looked at yet"

// orOne is a number of replicas, of which there is one where nothing is said.
func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// deployment follows `kubectl rollout status`. One that is paused is Current as it stands:
// nobody waits for anything.
func deployment(d *appsv1.Deployment) Health {
	s, want := d.Status, orOne(d.Spec.Replicas)
	if s.ObservedGeneration < d.Generation {
		return progress(notLookedAt)
	}
	for _, c := range s.Conditions {
		switch {
		case c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse,
			c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			return failed("%s", cmp.Or(c.Message, c.Reason))
		}
	}
	switch {
	case d.Spec.Paused && d.Annotations["deployment.kubernetes.io/revision"] == "":
		return current("is paused") // before its first rollout
	case s.UpdatedReplicas < want && !d.Spec.Paused:
		return progress("%d of %d pods are of its newest template", s.UpdatedReplicas, want)
	case s.Replicas > s.UpdatedReplicas && !d.Spec.Paused:
		return progress("%d pods of older templates have still to go", s.Replicas-s.UpdatedReplicas)
	case s.AvailableReplicas < want:
		return progress("%d of %d pods are available", s.AvailableReplicas, want)
	case s.Replicas > want:
		return progress("%d of %d pods have still to go", s.Replicas-want, s.Replicas)
	case d.Spec.Paused:
		return current("is paused")
	}
	return Health{State: Current}
}

func replicaSet(rs *appsv1.ReplicaSet) Health {
	s, want := rs.Status, orOne(rs.Spec.Replicas)
	for _, c := range s.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
			return failed("%s", cmp.Or(c.Message, c.Reason))
		}
	}
	switch {
	case s.ObservedGeneration < rs.Generation:
		return progress(notLookedAt)
	case s.Replicas > want:
		return progress("%d of %d pods have still to go", s.Replicas-want, s.Replicas)
	case s.AvailableReplicas < want:
		return progress("%d of %d pods are available", s.AvailableReplicas, want)
	}
	return Health{State: Current}
}

// statefulSet waits for the pods that its update reaches; with OnDelete for none of them.
func statefulSet(set *appsv1.StatefulSet) Health {
	s, want, partition := set.Status, orOne(set.Spec.Replicas), int32(0)
	if u := set.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		partition = *u.Partition
	}
	rolls := set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType
	switch {
	case s.ObservedGeneration < set.Generation:
		return progress(notLookedAt)
	case s.Replicas > want:
		return progress("%d of %d pods have still to go", s.Replicas-want, s.Replicas)
	case rolls && s.UpdatedReplicas < want-partition:
		return progress("%d of %d pods are of its newest template", s.UpdatedReplicas, want-partition)
	case s.ReadyReplicas < want || s.AvailableReplicas < want:
		return progress("%d of %d pods are available", min(s.ReadyReplicas, s.AvailableReplicas), want)
	}
	return Health{State: Current}
}

func daemonSet(d *appsv1.DaemonSet) Health {
	s := d.Status
	rolls := d.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType
	switch {
	case s.ObservedGeneration < d.Generation:
		return progress(notLookedAt)
	case rolls && s.UpdatedNumberScheduled < s.DesiredNumberScheduled:
		return progress("%d of %d nodes run its newest template", s.UpdatedNumberScheduled, s.DesiredNumberScheduled)
	case s.NumberAvailable < s.DesiredNumberScheduled:
		return progress("it is available on %d of %d nodes", s.NumberAvailable, s.DesiredNumberScheduled)
	}
	return Health{State: Current}
}
