package api

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Annotations of PersistentVolumes whose claim is gone.
const (
	// ReclaimAnnotation is the name of the node that is asked to empty the volume, or to remove it,
	// as the volume's policy says.
	ReclaimAnnotation = "slipway.dev/reclaim"
	// ReclaimedAnnotation is the uid of the claim whose data that node has removed.
	ReclaimedAnnotation = "slipway.dev/reclaimed"
	// ReclaimErrorAnnotation is why it could not so far.
	ReclaimErrorAnnotation = "slipway.dev/reclaim-error"
)

// What Kubernetes' binder writes, and an export of a cluster would bring along: a claim of
// somewhere else is bound to nothing here.
const (
	bindCompletedAnnotation     = "pv.kubernetes.io/bind-completed"
	boundByControllerAnnotation = "pv.kubernetes.io/bound-by-controller"
)

// ClaimNames are the PersistentVolumeClaims that a pod uses, in the order of its volumes.
func ClaimNames(p *corev1.PodSpec) []string {
	var names []string
	for _, v := range p.Volumes {
		if c := v.PersistentVolumeClaim; c != nil && !slices.Contains(names, c.ClaimName) {
			names = append(names, c.ClaimName)
		}
	}
	return names
}

// UsesClaim says whether a pod has a claim in use: it is bound to a node and has not ended.
func UsesClaim(p *corev1.Pod, name string) bool {
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return p.Spec.NodeName != "" && !over && slices.Contains(ClaimNames(&p.Spec), name)
}
