package api

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var envFields = []string{
	"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations",
	"spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
}

var envResources = []string{
	"limits.cpu", "limits.memory", "limits.ephemeral-storage",
	"requests.cpu", "requests.memory", "requests.ephemeral-storage",
}

func validateEnv(env []corev1.EnvVar, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range env {
		at := p.Index(i)
		errs = append(errs, named(at.Child("name"), e.Name, validation.IsEnvVarName)...)
		if e.ValueFrom == nil {
			continue
		}
		from := at.Child("valueFrom")
		if e.Value != "" {
			errs = append(errs, field.Invalid(from, "", "may not be specified when `value` is not empty"))
		}
		errs = append(errs, validateEnvSource(e.ValueFrom, from)...)
	}
	return errs
}

func validateEnvSource(s *corev1.EnvVarSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	if r := s.FieldRef; r != nil {
		n++
		errs = append(errs, validateFieldRef(r, p.Child("fieldRef"))...)
	}
	if r := s.ResourceFieldRef; r != nil {
		n++
		errs = append(errs, oneOf(p.Child("resourceFieldRef", "resource"), r.Resource, envResources...)...)
	}
	if r := s.ConfigMapKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("configMapKeyRef"))...)
	}
	if r := s.SecretKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("secretKeyRef"))...)
	}
	if n != 1 {
		errs = append(errs, field.Invalid(p, fmt.Sprintf("%d sources", n), "must specify exactly one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef"))
	}
	return errs
}

func validateFieldRef(r *corev1.ObjectFieldSelector, p *field.Path) field.ErrorList {
	base, rest, subscript := strings.Cut(r.FieldPath, "[")
	if subscript {
		quoted := strings.HasPrefix(rest, "'") && strings.HasSuffix(rest, "']") && len(rest) > 3
		if (base == "metadata.labels" || base == "metadata.annotations") && quoted {
			return nil
		}
		return field.ErrorList{field.Invalid(p.Child("fieldPath"), r.FieldPath, "only metadata.labels['<key>'] and metadata.annotations['<key>'] take a subscript")}
	}
	if r.FieldPath != "" && !slices.Contains(envFields, r.FieldPath) {
		return field.ErrorList{field.NotSupported(p.Child("fieldPath"), r.FieldPath, envFields)}
	}
	return named(p.Child("fieldPath"), r.FieldPath, func(string) []string { return nil })
}

func validateKeyRef(name, key string, p *field.Path) field.ErrorList {
	errs := named(p.Child("name"), name, validation.IsDNS1123Subdomain)
	return append(errs, named(p.Child("key"), key, validation.IsConfigMapKey)...)
}

func validateEnvFrom(sources []corev1.EnvFromSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range sources {
		at := p.Index(i)
		if s.Prefix != "" {
			errs = append(errs, invalid(at.Child("prefix"), s.Prefix, validation.IsEnvVarName(s.Prefix))...)
		}
		if (s.ConfigMapRef == nil) == (s.SecretRef == nil) {
			errs = append(errs, field.Invalid(at, "", "must specify exactly one of configMapRef and secretRef"))
		}
		if s.ConfigMapRef != nil {
			errs = append(errs, named(at.Child("configMapRef", "name"), s.ConfigMapRef.Name, validation.IsDNS1123Subdomain)...)
		}
		if s.SecretRef != nil {
			errs = append(errs, named(at.Child("secretRef", "name"), s.SecretRef.Name, validation.IsDNS1123Subdomain)...)
		}
	}
	return errs
}
