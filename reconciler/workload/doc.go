// Package workload runs what apps/v1 describes, with Kubernetes' rules: Deployment →
// ReplicaSet → Pod, StatefulSet → Pod and PersistentVolumeClaim, DaemonSet → Pod.
//
// Each kind has a controller of its own. What it decides is a pure function of what was
// read; the controller reads, carries out and looks again until there is nothing left but
// to wait. Where a rollout stands is in live state only: in the replicas of ReplicaSets
// and in the revision that a pod's labels name. So any process may take it over at any line.
//
// Templates that were rolled out are kept, as ReplicaSets or as ControllerRevisions, up to
// spec.revisionHistoryLimit: a commit that goes back to an old template finds its set again.
package workload
