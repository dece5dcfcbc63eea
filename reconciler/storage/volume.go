package storage

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"slipway.dev/slipway/api"
)

// VolumeDecision is what to do about a volume.
type VolumeDecision struct {
	// Phase that it is in, and why it is Failed.
	Phase   corev1.PersistentVolumePhase
	Message string
	// Free gives the volume back: it is nobody's, or again for the claim that it asks for.
	Free bool
	// Reclaim is the node that is to empty or remove what the volume holds.
	Reclaim string
	// Delete the volume: what it held is removed.
	Delete bool
}

// DecideVolume looks at a volume, the claim that its claimRef names (nil: there is none), and the
// cluster's nodes.
func DecideVolume(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim, nodes []corev1.Node) VolumeDecision {
	r := v.Spec.ClaimRef
	switch {
	case r == nil, r.UID == "":
		return VolumeDecision{Phase: corev1.VolumeAvailable}
	case c != nil && c.UID == r.UID && (c.Spec.VolumeName == v.Name || c.Spec.VolumeName == ""):
		return VolumeDecision{Phase: corev1.VolumeBound}
	case c != nil && c.UID == r.UID:
		// The claim was given another volume. This one was never used by it.
		return VolumeDecision{Phase: corev1.VolumeAvailable, Free: true}
	}
	return reclaim(v, nodes)
}

// reclaim decides about a volume whose claim is gone.
func reclaim(v *corev1.PersistentVolume, nodes []corev1.Node) VolumeDecision {
	d := VolumeDecision{Phase: corev1.VolumeReleased}
	policy := v.Spec.PersistentVolumeReclaimPolicy
	done := v.Annotations[api.ReclaimedAnnotation] == string(v.Spec.ClaimRef.UID)
	switch {
	case policy == corev1.PersistentVolumeReclaimRetain:
	case done && policy == corev1.PersistentVolumeReclaimDelete:
		d.Delete = true
	case done:
		d.Phase, d.Free = corev1.VolumeAvailable, true
	default:
		if why := v.Annotations[api.ReclaimErrorAnnotation]; why != "" {
			d.Phase, d.Message = corev1.VolumeFailed, why
		}
		node, why := nodeOf(v, nodes)
		if why != "" {
			d.Phase, d.Message = corev1.VolumeFailed, why
		}
		d.Reclaim = node
	}
	return d
}

// nodeOf is the node that can reach what a volume holds. A path of a host is reached by that host
// only, and nobody guesses which.
func nodeOf(v *corev1.PersistentVolume, nodes []corev1.Node) (name, why string) {
	anywhere := v.Spec.NFS != nil
	var candidates []corev1.Node
	for _, n := range nodes {
		if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			candidates = append(candidates, n)
			continue
		}
		s, err := nodeaffinity.NewNodeSelector(v.Spec.NodeAffinity.Required)
		if err == nil && s.Match(&n) {
			candidates = append(candidates, n)
		}
	}
	switch {
	case len(candidates) == 0:
		return "", "no node that can reach its data is there"
	case len(candidates) == 1:
		return candidates[0].Name, ""
	case !anywhere:
		return "", fmt.Sprintf("%d nodes may hold its data: name one by nodeAffinity, or have its policy be Retain", len(candidates))
	}
	best := candidates[0]
	for _, n := range candidates[1:] {
		if cmp.Or(rank(n)-rank(best), cmp.Compare(n.Name, best.Name)) < 0 {
			best = n
		}
	}
	return best.Name, ""
}

// rank is 0 for a node that is ready.
func rank(n corev1.Node) int {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return 0
		}
	}
	return 1
}
