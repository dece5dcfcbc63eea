package storage

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Annotations by which Kubernetes remembers who bound what.
const (
	bindCompleted     = "pv.kubernetes.io/bind-completed"
	boundByController = "pv.kubernetes.io/bound-by-controller"
)

// ClaimDecision is what to do about a claim.
type ClaimDecision struct {
	// Phase that it is in.
	Phase corev1.PersistentVolumeClaimPhase
	// Volume is the one that it is bound to or to be bound to; nil: it waits, or has lost it.
	Volume *corev1.PersistentVolume

	eventtype, reason, message string
}

// DecideClaim finds a claim's volume among all that there are.
func DecideClaim(c *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume) ClaimDecision {
	name := c.Spec.VolumeName
	if name == "" {
		if v := Match(c, volumes); v != nil {
			return ClaimDecision{Phase: corev1.ClaimBound, Volume: v}
		}
		why := "no persistent volumes available for this claim and no storage class is set"
		if class := claimClass(c); class != "" {
			why = fmt.Sprintf("no persistent volume of storage class %q is available for this claim: volumes are made by whoever runs the cluster, not on demand", class)
		}
		return waits(corev1.EventTypeNormal, "FailedBinding", why)
	}
	var v *corev1.PersistentVolume
	for _, candidate := range volumes {
		if candidate.Name == name {
			v = candidate
		}
	}
	if c.Annotations[bindCompleted] != "" {
		return keep(c, v)
	}
	switch {
	case v == nil:
		return waits(corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q is not there", name))
	case v.DeletionTimestamp != nil:
		return waits(corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q is being deleted", name))
	case v.Spec.ClaimRef != nil && !spokenFor(v, c):
		return waits(corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", name))
	case v.Spec.ClaimRef == nil && misfit(c, v) != "":
		return waits(corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind to requested volume %q: %s", name, misfit(c, v)))
	}
	return ClaimDecision{Phase: corev1.ClaimBound, Volume: v}
}

// keep looks after a claim that was bound: it has its volume, or has lost it for good.
func keep(c *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) ClaimDecision {
	lost := func(reason, message string) ClaimDecision {
		return ClaimDecision{Phase: corev1.ClaimLost, eventtype: corev1.EventTypeWarning, reason: reason, message: message}
	}
	switch {
	case v == nil:
		return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case v.Spec.ClaimRef != nil && !spokenFor(v, c):
		return lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
	}
	return ClaimDecision{Phase: corev1.ClaimBound, Volume: v}
}

func waits(eventtype, reason, message string) ClaimDecision {
	return ClaimDecision{Phase: corev1.ClaimPending, eventtype: eventtype, reason: reason, message: message}
}
