package api

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

func defaultApplication(a *v1alpha1.Application) {
	setPointer(&a.Spec.Prune, true)
	setPointer(&a.Spec.Interval, metav1.Duration{Duration: time.Minute})
	setPointer(&a.Spec.Timeout, metav1.Duration{Duration: 5 * time.Minute})
	setDefault(&a.Spec.Drift, v1alpha1.DriftCorrect)
	if a.Spec.SourceRef.Name != "" {
		setDefault(&a.Spec.SourceRef.Namespace, a.Namespace)
	}
}

func validateApplication(a *v1alpha1.Application) field.ErrorList {
	p := field.NewPath("spec")
	errs := sourceRef(p.Child("sourceRef"), a.Spec.SourceRef, false)
	errs = append(errs, inTree(p.Child("path"), a.Spec.Path)...)
	if a.Spec.Project != "" {
		errs = append(errs, invalid(p.Child("project"), a.Spec.Project, validation.IsDNS1123Label(a.Spec.Project))...)
	}
	for _, k := range slices.Sorted(maps.Keys(a.Spec.Parameters)) {
		errs = append(errs, invalid(p.Child("parameters").Key(k), k, isParameterName(k))...)
	}
	for i, d := range a.Spec.DependsOn {
		at := p.Child("dependsOn").Index(i).Child("name")
		errs = append(errs, named(at, d.Name, validation.IsDNS1123Subdomain)...)
		if d.Name == a.Name && d.Name != "" {
			errs = append(errs, field.Invalid(at, d.Name, "an application cannot depend on itself"))
		}
	}
	errs = append(errs, positiveDuration(p.Child("interval"), a.Spec.Interval)...)
	errs = append(errs, positiveDuration(p.Child("timeout"), a.Spec.Timeout)...)
	return append(errs, oneOf(p.Child("drift"), a.Spec.Drift, v1alpha1.DriftCorrect, v1alpha1.DriftReport)...)
}
