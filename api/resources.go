package api

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateResourceList(l corev1.ResourceList, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(l)) {
		at := p.Key(string(name))
		errs = append(errs, invalid(at, string(name), validation.IsQualifiedName(string(name)))...)
		if q := l[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(at, q.String(), "must be greater than or equal to 0"))
		}
	}
	return errs
}

func validateResources(r *corev1.ResourceRequirements, p *field.Path) field.ErrorList {
	errs := validateResourceList(r.Limits, p.Child("limits"))
	errs = append(errs, validateResourceList(r.Requests, p.Child("requests"))...)
	for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
		errs = append(errs, validateContainerResource(name, p.Child("limits"))...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		if !ok {
			errs = append(errs, validateContainerResource(name, p.Child("requests"))...)
		}
		if ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(p.Child("requests").Key(string(name)), request.String(), "must be less than or equal to the "+string(name)+" limit of "+limit.String()))
		}
	}
	return errs
}

// validateContainerResource wants a resource that there is, or one of a domain of its own:
// no node will ever have what was mistyped.
func validateContainerResource(name corev1.ResourceName, p *field.Path) field.ErrorList {
	switch {
	case strings.Contains(string(name), "/"), strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
	case name != corev1.ResourceCPU && name != corev1.ResourceMemory && name != corev1.ResourceEphemeralStorage:
		return field.ErrorList{field.Invalid(p.Key(string(name)), string(name), "must be cpu, memory, ephemeral-storage or hugepages-SIZE, or begin with a domain, such as example.com/gpu")}
	}
	return nil
}

func validateResourceQuota(q *corev1.ResourceQuota) field.ErrorList {
	return validateResourceList(q.Spec.Hard, field.NewPath("spec", "hard"))
}

// defaultLimitRange fills an open default from max, and an open request from default
// or min, as Kubernetes does.
func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		fill := func(at *corev1.ResourceList, from corev1.ResourceList) {
			for name, q := range from {
				if _, ok := (*at)[name]; !ok {
					if *at == nil {
						*at = corev1.ResourceList{}
					}
					(*at)[name] = q.DeepCopy()
				}
			}
		}
		fill(&item.Default, item.Max)
		fill(&item.DefaultRequest, item.Default)
		fill(&item.DefaultRequest, item.Min)
	}
}

func validateLimitRange(l *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	for i, item := range l.Spec.Limits {
		at := field.NewPath("spec", "limits").Index(i)
		errs = append(errs, oneOf(at.Child("type"), item.Type, corev1.LimitTypeContainer, corev1.LimitTypePod, corev1.LimitTypePersistentVolumeClaim, "openshift.io/Image", "openshift.io/ImageStream")...)
		lists := []struct {
			name string
			list corev1.ResourceList
		}{{"min", item.Min}, {"defaultRequest", item.DefaultRequest}, {"default", item.Default}, {"max", item.Max}}
		for j, low := range lists {
			errs = append(errs, validateResourceList(low.list, at.Child(low.name))...)
			for _, high := range lists[j+1:] {
				for _, name := range slices.Sorted(maps.Keys(low.list)) {
					a := low.list[name]
					if b, ok := high.list[name]; ok && a.Cmp(b) > 0 {
						errs = append(errs, field.Invalid(at.Child(low.name).Key(string(name)), a.String(), low.name+" value is greater than "+high.name+" value "+b.String()))
					}
				}
			}
		}
	}
	return errs
}
