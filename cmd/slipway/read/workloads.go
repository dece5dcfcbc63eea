package read

import (
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// workloads are what of apps/v1 keeps pods running.
type workloads struct {
	deployments appsv1.DeploymentList
	sets        appsv1.StatefulSetList
	daemons     appsv1.DaemonSetList
}

// rows are like those of DeploymentConfigs; the kind is in the name.
func (w *workloads) rows() [][]string {
	var rows [][]string
	add := func(kind, project, name, revision string, want, ready, updated int32, failed bool) {
		status := "Ready"
		switch {
		case failed:
			status = "Failed"
		case ready < want:
			status = "NotReady"
		case updated < want:
			status = "Pending"
		}
		rows = append(rows, []string{project + "/" + kind + "/" + name, fmt.Sprintf("%d/%d", ready, want), cmp.Or(revision, "-"), status})
	}
	for _, d := range w.deployments.Items {
		_, failed := stuck(&d)
		add("deployment", d.Namespace, d.Name, d.Annotations["deployment.kubernetes.io/revision"], orOne(d.Spec.Replicas), d.Status.ReadyReplicas, d.Status.UpdatedReplicas, failed)
	}
	for _, s := range w.sets.Items {
		updated := s.Status.UpdatedReplicas
		if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
			updated = orOne(s.Spec.Replicas)
		} else if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
			updated += *u.Partition
		}
		add("statefulset", s.Namespace, s.Name, s.Status.UpdateRevision, orOne(s.Spec.Replicas), s.Status.ReadyReplicas, updated, false)
	}
	for _, d := range w.daemons.Items {
		want := d.Status.DesiredNumberScheduled
		updated := d.Status.UpdatedNumberScheduled
		if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
			updated = want
		}
		add("daemonset", d.Namespace, d.Name, "", want, d.Status.NumberReady, updated, false)
	}
	return rows
}

// problems are the rollouts that get no further.
func (w *workloads) problems() [][]string {
	var rows [][]string
	for i := range w.deployments.Items {
		d := &w.deployments.Items[i]
		if why, failed := stuck(d); failed {
			rows = append(rows, []string{fmt.Sprintf("%s/deployment/%s: %s", d.Namespace, d.Name, why)})
		}
	}
	return rows
}

// stuck is why a Deployment's newest rollout was given up, if it was.
func stuck(d *appsv1.Deployment) (why string, failed bool) {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse {
			return firstLine(cmp.Or(c.Message, c.Reason)), true
		}
	}
	return "", false
}

// orOne is a number of replicas, of which there is one where nothing is said.
func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
