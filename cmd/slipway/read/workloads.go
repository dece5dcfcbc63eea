package read

import (
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
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
	add := func(kind, project, name, revision string, want, ready, updated int32) {
		status := "Ready"
		switch {
		case ready < want:
			status = "NotReady"
		case updated < want:
			status = "Pending"
		}
		rows = append(rows, []string{project + "/" + kind + "/" + name, fmt.Sprintf("%d/%d", ready, want), cmp.Or(revision, "-"), status})
	}
	for _, d := range w.deployments.Items {
		add("deployment", d.Namespace, d.Name, d.Annotations["deployment.kubernetes.io/revision"], orOne(d.Spec.Replicas), d.Status.ReadyReplicas, d.Status.UpdatedReplicas)
	}
	for _, s := range w.sets.Items {
		updated := s.Status.UpdatedReplicas
		if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
			updated = orOne(s.Spec.Replicas)
		} else if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
			updated += *u.Partition
		}
		add("statefulset", s.Namespace, s.Name, s.Status.UpdateRevision, orOne(s.Spec.Replicas), s.Status.ReadyReplicas, updated)
	}
	for _, d := range w.daemons.Items {
		want := d.Status.DesiredNumberScheduled
		updated := d.Status.UpdatedNumberScheduled
		if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
			updated = want
		}
		add("daemonset", d.Namespace, d.Name, "", want, d.Status.NumberReady, updated)
	}
	return rows
}

// orOne is a number of replicas, of which there is one where nothing is said.
func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
