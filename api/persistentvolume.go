package api

import (
	"net/netip"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
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
	errs = append(errs, validateVolumeMode(v.Spec.VolumeMode, p.Child("volumeMode"))...)
	if c := v.Spec.StorageClassName; c != "" {
		errs = append(errs, invalid(p.Child("storageClassName"), c, validation.IsDNS1123Subdomain(c))...)
	}
	if v.Spec.VolumeAttributesClassName != nil {
		errs = append(errs, field.Forbidden(p.Child("volumeAttributesClassName"), "is not served"))
	}
	if r := v.Spec.ClaimRef; r != nil {
		errs = append(errs, named(p.Child("claimRef", "name"), r.Name, validation.IsDNS1123Subdomain)...)
		errs = append(errs, named(p.Child("claimRef", "namespace"), r.Namespace, validation.IsDNS1123Label)...)
	}
	errs = append(errs, validateVolumeAffinity(v.Spec.NodeAffinity, p.Child("nodeAffinity"))...)
	return append(errs, validateStorage(&v.Spec, p)...)
}

// validateStorage checks where the data lies, and what may be done to it there.
func validateStorage(s *corev1.PersistentVolumeSpec, p *field.Path) field.ErrorList {
	const retain, recycle, remove = corev1.PersistentVolumeReclaimRetain, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimDelete
	var errs field.ErrorList
	policies := []corev1.PersistentVolumeReclaimPolicy{retain, recycle, remove}
	switch set := setFields(&s.PersistentVolumeSource); {
	case len(set) != 1:
		errs = append(errs, field.Required(p, "exactly one source: hostPath, local or nfs"))
	case s.HostPath != nil:
		errs = append(errs, absolute(s.HostPath.Path, p.Child("hostPath", "path"))...)
		if t := s.HostPath.Type; t != nil {
			errs = append(errs, oneOfOrNone(p.Child("hostPath", "type"), *t, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate)...)
		}
	case s.Local != nil:
		errs = append(errs, absolute(s.Local.Path, p.Child("local", "path"))...)
		if s.NodeAffinity == nil {
			errs = append(errs, field.Required(p.Child("nodeAffinity"), "a local volume is on one node"))
		}
		if s.Local.FSType != nil {
			errs = append(errs, field.Forbidden(p.Child("local", "fsType"), "block devices are not served: path is a directory"))
		}
	case s.NFS != nil:
		errs = append(errs, named(p.Child("nfs", "server"), s.NFS.Server, hostOf)...)
		errs = append(errs, absolute(s.NFS.Path, p.Child("nfs", "path"))...)
		policies = []corev1.PersistentVolumeReclaimPolicy{retain, recycle}
	default:
		errs = append(errs, field.NotSupported(p, set[0], []string{"hostPath", "local", "nfs"}))
	}
	for i, o := range s.MountOptions {
		if at := p.Child("mountOptions").Index(i); s.NFS == nil {
			errs = append(errs, field.Forbidden(at, "only with nfs"))
		} else if o == "" || strings.ContainsAny(o, ", \t\n\x00") {
			errs = append(errs, field.Invalid(at, o, "must be one option, such as vers=4.1"))
		}
	}
	return append(errs, oneOf(p.Child("persistentVolumeReclaimPolicy"), s.PersistentVolumeReclaimPolicy, policies...)...)
}

func hostOf(s string) []string {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	return validation.IsDNS1123Subdomain(s)
}

func oneOfOrNone[T ~string](p *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return nil
	}
	return oneOf(p, value, allowed...)
}

func validateVolumeAffinity(a *corev1.VolumeNodeAffinity, p *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	if a.Required == nil {
		return field.ErrorList{field.Required(p.Child("required"), "")}
	}
	if len(a.Required.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(p.Child("required", "nodeSelectorTerms"), "must have at least one node selector term")}
	}
	if _, err := nodeaffinity.NewNodeSelector(a.Required); err != nil {
		return field.ErrorList{field.Invalid(p.Child("required"), "", err.Error())}
	}
	return nil
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
	if n := c.Spec.StorageClassName; n != nil && *n != "" {
		errs = append(errs, invalid(p.Child("storageClassName"), *n, validation.IsDNS1123Subdomain(*n))...)
	}
	if n := c.Spec.VolumeName; n != "" {
		errs = append(errs, invalid(p.Child("volumeName"), n, validation.IsDNS1123Subdomain(n))...)
	}
	for name, set := range map[string]bool{
		"dataSource": c.Spec.DataSource != nil, "dataSourceRef": c.Spec.DataSourceRef != nil, "volumeAttributesClassName": c.Spec.VolumeAttributesClassName != nil,
	} {
		if set {
			errs = append(errs, field.Forbidden(p.Child(name), "is not served: volumes are made by whoever runs the cluster, not on demand"))
		}
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
		if m == corev1.ReadWriteOncePod && len(modes) > 1 {
			errs = append(errs, field.Forbidden(p.Index(i), "may not be used with other access modes"))
		}
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
