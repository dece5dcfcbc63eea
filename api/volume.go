package api

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const defaultFileMode int32 = 0o644

func defaultVolume(v *corev1.Volume) {
	if reflect.ValueOf(v.VolumeSource).IsZero() {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.Secret != nil {
		setPointer(&v.Secret.DefaultMode, defaultFileMode)
	}
	if v.ConfigMap != nil {
		setPointer(&v.ConfigMap.DefaultMode, defaultFileMode)
	}
	if v.DownwardAPI != nil {
		setPointer(&v.DownwardAPI.DefaultMode, defaultFileMode)
		defaultDownward(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		setPointer(&v.Projected.DefaultMode, defaultFileMode)
		for _, s := range v.Projected.Sources {
			if s.DownwardAPI != nil {
				defaultDownward(s.DownwardAPI.Items)
			}
		}
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if f := items[i].FieldRef; f != nil {
			setDefault(&f.APIVersion, "v1")
		}
	}
}

// validateVolumes returns the names of the volumes too. The kinds of volume are those
// of OpenShift's restricted SCC, and paths of the host, which need SecurityContextConstraints
// that allow them; devices and other servers' disks are refused.
func validateVolumes(volumes []corev1.Volume, p *field.Path) (field.ErrorList, sets.Set[string]) {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range volumes {
		v, at := &volumes[i], p.Index(i)
		errs = append(errs, named(at.Child("name"), v.Name, validation.IsDNS1123Label)...)
		if names.Has(v.Name) && v.Name != "" {
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		}
		names.Insert(v.Name)
		errs = append(errs, validateVolumeSource(&v.VolumeSource, at)...)
	}
	return errs, names
}

func validateVolumeSource(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	set := setFields(s)
	if len(set) != 1 {
		return field.ErrorList{field.Forbidden(p, fmt.Sprintf("must have exactly one source, has %d", len(set)))}
	}
	switch {
	case s.EmptyDir != nil:
		if l := s.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			return field.ErrorList{field.Invalid(p.Child("emptyDir", "sizeLimit"), l.String(), "must be greater than or equal to 0")}
		}
		return nil
	case s.Secret != nil:
		errs := named(p.Child("secret", "secretName"), s.Secret.SecretName, validation.IsDNS1123Subdomain)
		return append(errs, validateItems(s.Secret.Items, s.Secret.DefaultMode, p.Child("secret"))...)
	case s.ConfigMap != nil:
		errs := named(p.Child("configMap", "name"), s.ConfigMap.Name, validation.IsDNS1123Subdomain)
		return append(errs, validateItems(s.ConfigMap.Items, s.ConfigMap.DefaultMode, p.Child("configMap"))...)
	case s.PersistentVolumeClaim != nil:
		return named(p.Child("persistentVolumeClaim", "claimName"), s.PersistentVolumeClaim.ClaimName, validation.IsDNS1123Subdomain)
	case s.DownwardAPI != nil:
		return validateDownward(s.DownwardAPI.Items, p.Child("downwardAPI"))
	case s.Projected != nil:
		return validateProjected(s.Projected, p.Child("projected"))
	case s.HostPath != nil:
		return validateHostPath(s.HostPath, p.Child("hostPath"))
	}
	return field.ErrorList{field.NotSupported(p, set[0], []string{"configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret"})}
}

// validateHostPath looks at the form only: who may have which is up to SecurityContextConstraints.
func validateHostPath(s *corev1.HostPathVolumeSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.Path == "":
		errs = append(errs, field.Required(p.Child("path"), ""))
	case !path.IsAbs(s.Path) || strings.ContainsRune(s.Path, 0):
		errs = append(errs, field.Invalid(p.Child("path"), s.Path, "must be an absolute path"))
	case slices.Contains(strings.Split(s.Path, "/"), ".."):
		errs = append(errs, field.Invalid(p.Child("path"), s.Path, "must not contain '..'"))
	}
	if t := s.Type; t != nil {
		errs = append(errs, oneOfOrNone(p.Child("type"), *t, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile,
			corev1.HostPathFileOrCreate, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev)...)
	}
	return errs
}

// setFields lists the JSON names of the pointers that are not nil.
func setFields(s any) []string {
	v := reflect.ValueOf(s).Elem()
	var names []string
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}

func validateItems(items []corev1.KeyToPath, mode *int32, p *field.Path) field.ErrorList {
	errs := validateMode(mode, p.Child("defaultMode"))
	for i, item := range items {
		at := p.Child("items").Index(i)
		errs = append(errs, named(at.Child("key"), item.Key, validation.IsConfigMapKey)...)
		errs = append(errs, validateFilePath(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
	}
	return errs
}

func validateDownward(items []corev1.DownwardAPIVolumeFile, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		at := p.Child("items").Index(i)
		errs = append(errs, validateFilePath(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
		switch {
		case (item.FieldRef == nil) == (item.ResourceFieldRef == nil):
			errs = append(errs, field.Required(at, "exactly one of fieldRef and resourceFieldRef"))
		case item.FieldRef != nil:
			errs = append(errs, validateFieldRef(item.FieldRef, at.Child("fieldRef"))...)
		default:
			errs = append(errs, oneOf(at.Child("resourceFieldRef", "resource"), item.ResourceFieldRef.Resource, envResources...)...)
		}
	}
	return errs
}

func validateProjected(v *corev1.ProjectedVolumeSource, p *field.Path) field.ErrorList {
	errs := validateMode(v.DefaultMode, p.Child("defaultMode"))
	for i := range v.Sources {
		s, at := &v.Sources[i], p.Child("sources").Index(i)
		switch set := setFields(s); {
		case len(set) != 1:
			errs = append(errs, field.Forbidden(at, "must have exactly one source"))
		case s.Secret != nil:
			errs = append(errs, named(at.Child("secret", "name"), s.Secret.Name, validation.IsDNS1123Subdomain)...)
			errs = append(errs, validateItems(s.Secret.Items, nil, at.Child("secret"))...)
		case s.ConfigMap != nil:
			errs = append(errs, named(at.Child("configMap", "name"), s.ConfigMap.Name, validation.IsDNS1123Subdomain)...)
			errs = append(errs, validateItems(s.ConfigMap.Items, nil, at.Child("configMap"))...)
		case s.DownwardAPI != nil:
			errs = append(errs, validateDownward(s.DownwardAPI.Items, at.Child("downwardAPI"))...)
		case s.ServiceAccountToken != nil:
			errs = append(errs, field.Forbidden(at.Child("serviceAccountToken"), "pods get no tokens: the API takes no writes, and reading needs no account"))
		default:
			errs = append(errs, field.NotSupported(at, set[0], []string{"configMap", "downwardAPI", "secret"}))
		}
	}
	return errs
}

func validateFilePath(value string, p *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return inTree(p, value)
}

func validateMode(mode *int32, p *field.Path) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return field.ErrorList{field.Invalid(p, *mode, "must be a number between 0 and 0777 (octal)")}
	}
	return nil
}

func validateMounts(mounts []corev1.VolumeMount, volumes sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths := sets.New[string]()
	for i, m := range mounts {
		at := p.Index(i)
		switch {
		case m.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case !volumes.Has(m.Name):
			errs = append(errs, field.NotFound(at.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			errs = append(errs, field.Required(at.Child("mountPath"), ""))
		case !path.IsAbs(m.MountPath) || strings.ContainsAny(m.MountPath, ":\x00"):
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be an absolute path without ':'"))
		case paths.Has(path.Clean(m.MountPath)):
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		paths.Insert(path.Clean(m.MountPath))
		errs = append(errs, inTree(at.Child("subPath"), m.SubPath)...)
		errs = append(errs, inTree(at.Child("subPathExpr"), m.SubPathExpr)...)
		if m.SubPathExpr != "" && m.SubPath != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		if m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationBidirectional {
			errs = append(errs, field.Forbidden(at.Child("mountPropagation"), "Bidirectional "+refused))
		}
	}
	return errs
}
