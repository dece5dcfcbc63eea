package storage

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Match is the volume that a claim gets; nil: none fits. A volume that asks for the claim by
// name goes first; then the smallest, of equally small ones the one with fewest access modes.
func Match(c *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume) *corev1.PersistentVolume {
	var best *corev1.PersistentVolume
	for _, v := range volumes {
		if v.DeletionTimestamp != nil || misfit(c, v) != "" {
			continue
		}
		switch {
		case v.Spec.ClaimRef != nil && !spokenFor(v, c):
		case v.Spec.ClaimRef != nil && best != nil && best.Spec.ClaimRef != nil && best.Name < v.Name:
		case v.Spec.ClaimRef != nil:
			best = v
		case best != nil && best.Spec.ClaimRef != nil, !free(v), !selected(c, v):
		case best == nil || better(v, best):
			best = v
		}
	}
	return best
}

// misfit says why a volume cannot serve a claim, as Kubernetes' words for it; empty: it can.
func misfit(c *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) string {
	switch {
	case size(v).Cmp(*c.Spec.Resources.Requests.Storage()) < 0:
		return "requested PV is too small"
	case mode(v.Spec.VolumeMode) != mode(c.Spec.VolumeMode):
		return "incompatible volumeMode"
	case classOf(v, v.Spec.StorageClassName) != claimClass(c):
		return "storageClassName does not match"
	}
	for _, m := range c.Spec.AccessModes {
		if !slices.Contains(v.Spec.AccessModes, m) {
			return "incompatible accessMode"
		}
	}
	return ""
}

func better(a, b *corev1.PersistentVolume) bool {
	return cmp.Or(size(a).Cmp(*size(b)), cmp.Compare(len(a.Spec.AccessModes), len(b.Spec.AccessModes)), cmp.Compare(a.Name, b.Name)) < 0
}

// free: nobody had it, or whoever had it left it empty.
func free(v *corev1.PersistentVolume) bool {
	return slices.Contains([]corev1.PersistentVolumePhase{"", corev1.VolumePending, corev1.VolumeAvailable}, v.Status.Phase)
}

// selected: the claim's selector, if it has one, wants the volume.
func selected(c *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) bool {
	if c.Spec.Selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(c.Spec.Selector)
	return err == nil && s.Matches(labels.Set(v.Labels))
}

// spokenFor: the volume asks for the claim, or has it already.
func spokenFor(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	r := v.Spec.ClaimRef
	return r != nil && r.Namespace == c.Namespace && r.Name == c.Name && (r.UID == "" || r.UID == c.UID)
}

// given: the volume is the claim's.
func given(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	return spokenFor(v, c) && v.Spec.ClaimRef.UID == c.UID
}

func size(v *corev1.PersistentVolume) *resource.Quantity { return v.Spec.Capacity.Storage() }

func mode(m *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if m == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *m
}

// classOf prefers the annotation that came before the field. There is no default class: a claim
// that names none gets a volume that names none.
func classOf(o metav1.Object, field string) string {
	if c, ok := o.GetAnnotations()[corev1.BetaStorageClassAnnotation]; ok {
		return c
	}
	return field
}

func claimClass(c *corev1.PersistentVolumeClaim) string {
	class := ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	return classOf(c, class)
}
