package api

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	setDefault(&v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	setPointer(&v.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
}

// validatePersistentVolume allows a path of the host: volumes are cluster-wide, and
// only whoever may write those says where data lies.
func validatePersistentVolume(v *corev1.PersistentVolume) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateAccessModes(v.Spec.AccessModes, p.Child("accessModes"))
	if q, ok := v.Spec.Capacity[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(p.Child("capacity").Key("storage"), ""))
	} else if q.Sign() <= 0 {
		errs = append(errs, field.Invalid(p.Child("capacity").Key("storage"), q.String(), "must be greater than 0"))
	}
	errs = append(errs, oneOf(p.Child("persistentVolumeReclaimPolicy"), v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain, corev1.PersistentVolumeReclaimDelete)...)
	errs = append(errs, validateVolumeMode(v.Spec.VolumeMode, p.Child("volumeMode"))...)
	s := v.Spec.PersistentVolumeSource
	switch set := setFields(&s); {
	case len(set) != 1:
		errs = append(errs, field.Required(p, "exactly one source: hostPath, local or nfs"))
	case s.HostPath != nil:
		errs = append(errs, absolute(s.HostPath.Path, p.Child("hostPath", "path"))...)
	case s.Local != nil:
		errs = append(errs, absolute(s.Local.Path, p.Child("local", "path"))...)
	case s.NFS != nil:
		errs = append(errs, named(p.Child("nfs", "server"), s.NFS.Server, func(string) []string { return nil })...)
		errs = append(errs, absolute(s.NFS.Path, p.Child("nfs", "path"))...)
	default:
		errs = append(errs, field.NotSupported(p, set[0], []string{"hostPath", "local", "nfs"}))
	}
	return errs
}

func absolute(value string, p *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	if !path.IsAbs(value) || path.Clean(value) != value || value == "/" {
		return field.ErrorList{field.Invalid(p, value, "must be an absolute path below /, without '..' and without a trailing slash")}
	}
	return nil
}

func updatePersistentVolume(n, old *corev1.PersistentVolume) field.ErrorList {
	return immutable(n.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource, field.NewPath("spec"))
}

func defaultPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	setPointer(&c.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
}

func validatePersistentVolumeClaim(c *corev1.PersistentVolumeClaim) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateAccessModes(c.Spec.AccessModes, p.Child("accessModes"))
	at := p.Child("resources", "requests").Key("storage")
	if q, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]; !ok {
		errs = append(errs, field.Required(at, ""))
	} else if q.Sign() <= 0 {
		errs = append(errs, field.Invalid(at, q.String(), "must be greater than 0"))
	}
	if c.Spec.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(c.Spec.Selector, metav1validation.LabelSelectorValidationOptions{}, p.Child("selector"))...)
	}
	return append(errs, validateVolumeMode(c.Spec.VolumeMode, p.Child("volumeMode"))...)
}

func validateVolumeMode(m *corev1.PersistentVolumeMode, p *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	return oneOf(p, *m, corev1.PersistentVolumeFilesystem)
}

func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, p *field.Path) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(p, "at least 1 access mode is required")}
	}
	var errs field.ErrorList
	for i, m := range modes {
		errs = append(errs, oneOf(p.Index(i), m, corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOncePod)...)
	}
	return errs
}

// updatePersistentVolumeClaim lets a claim be bound once and grow; nothing else.
func updatePersistentVolumeClaim(n, old *corev1.PersistentVolumeClaim) field.ErrorList {
	p := field.NewPath("spec")
	a, b := n.Spec.DeepCopy(), old.Spec.DeepCopy()
	if b.VolumeName == "" {
		a.VolumeName = ""
	}
	if b.StorageClassName == nil {
		a.StorageClassName = nil
	}
	before, after := b.Resources.Requests[corev1.ResourceStorage], a.Resources.Requests[corev1.ResourceStorage]
	a.Resources, b.Resources = corev1.VolumeResourceRequirements{}, corev1.VolumeResourceRequirements{}
	var errs field.ErrorList
	if !equality.Semantic.DeepEqual(a, b) {
		errs = append(errs, field.Forbidden(p, "a claim's spec may not change after creation, except for resources.requests[storage], which may grow"))
	}
	if after.Cmp(before) < 0 {
		errs = append(errs, field.Forbidden(p.Child("resources", "requests").Key("storage"), "can not be less than the previous value "+before.String()))
	}
	return errs
}
