package deploy

import (
	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Scale is a change of a ReplicationController's replicas.
type Scale struct {
	Name string
	To   int32
}

// Decision is what a config's state asks for. It is a value: the executor carries it
// out in the order of the fields, then looks again.
type Decision struct {
	// Next asks for a new version and says why.
	Next *appsv1.DeploymentDetails
	// Cancel lists versions whose rollout a newer one ends.
	Cancel []string
	// Create asks for the ReplicationController of status.latestVersion.
	Create bool
	// Scale brings finished versions to the replicas that they should have.
	Scale []Scale
	// Delete lists versions beyond the history limit, oldest first.
	Delete []string
	// Roll lists versions with an unfinished rollout, to be stepped.
	Roll []string
	// Observed says that all of the spec was taken into account.
	Observed bool
}

// DecideConfig decides what a DeploymentConfig needs, given its versions.
func DecideConfig(dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController) Decision {
	rcs = byVersion(rcs)
	initial := dc.Status.LatestVersion == 0
	if initial && len(dc.Spec.Triggers) == 0 || dc.DeletionTimestamp != nil {
		return Decision{Observed: true}
	}
	var d Decision
	for _, rc := range rcs {
		if !terminated(rc) {
			d.Roll = append(d.Roll, rc.Name)
		}
	}
	if dc.Spec.Paused {
		d.Delete, d.Observed = beyondHistory(dc, rcs), true
		return d
	}

	latest := numbered(rcs, dc.Status.LatestVersion)
	overtaken := false
	for _, rc := range rcs {
		if !terminated(rc) && rc != latest {
			overtaken = true
			if !cancelled(rc) {
				d.Cancel = append(d.Cancel, rc.Name)
			}
		}
	}
	if details, wait := trigger(dc, latest); details != nil {
		d.Next = details
		return d
	} else if wait {
		d.Observed = true
		return d
	}
	switch {
	case initial || overtaken:
	case latest == nil:
		d.Create = true
	case terminated(latest):
		d.Scale, d.Delete, d.Observed = settle(dc, rcs), beyondHistory(dc, rcs), true
	}
	return d
}

// settle gives the active version the config's replicas and every other one none.
// After a failed rollout that is the automatic rollback.
func settle(dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController) []Scale {
	var scales []Scale
	serving := active(rcs)
	for _, rc := range rcs {
		want := int32(0)
		if rc == serving && !dc.Spec.Test {
			want = dc.Spec.Replicas
		}
		if replicas(rc) != want {
			scales = append(scales, Scale{rc.Name, want})
		}
	}
	return scales
}

// beyondHistory lists versions below the active one that revisionHistoryLimit no
// longer covers. One that still has pods stays.
func beyondHistory(dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController) []string {
	if dc.Spec.RevisionHistoryLimit == nil {
		return nil
	}
	var past []*corev1.ReplicationController
	serving := active(rcs)
	for _, rc := range rcs {
		if serving == nil && VersionOf(rc) != dc.Status.LatestVersion || serving != nil && VersionOf(rc) < VersionOf(serving) {
			past = append(past, rc)
		}
	}
	var names []string
	for i := range max(len(past)-int(*dc.Spec.RevisionHistoryLimit), 0) {
		if rc := past[i]; replicas(rc) == 0 && rc.Status.Replicas == 0 && terminated(rc) {
			names = append(names, rc.Name)
		}
	}
	return names
}
