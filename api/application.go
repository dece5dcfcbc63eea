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
	setDefault(&a.Spec.DeletionPolicy, v1alpha1.DeletionMirrorPrune)
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
	errs = append(errs, oneOf(p.Child("drift"), a.Spec.Drift, v1alpha1.DriftCorrect, v1alpha1.DriftReport)...)
	errs = append(errs, oneOf(p.Child("deletionPolicy"), a.Spec.DeletionPolicy, v1alpha1.DeletionMirrorPrune, v1alpha1.DeletionDelete,
		v1alpha1.DeletionWaitForTermination, v1alpha1.DeletionOrphan)...)
	if a.Spec.ServiceAccountName != "" {
		errs = append(errs, named(p.Child("serviceAccountName"), a.Spec.ServiceAccountName, validation.IsDNS1123Subdomain)...)
	}
	errs = append(errs, validateHealthChecks(a.Spec, p)...)
	return append(errs, validateGates(a.Spec, p)...)
}

func validateHealthChecks(s v1alpha1.ApplicationSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, h := range s.HealthChecks {
		errs = append(errs, objectReference(p.Child("healthChecks").Index(i), h)...)
	}
	for i, h := range s.HealthCheckExprs {
		at := p.Child("healthCheckExprs").Index(i)
		errs = append(errs, required(at.Child("apiVersion"), h.APIVersion)...)
		errs = append(errs, required(at.Child("kind"), h.Kind)...)
		errs = append(errs, required(at.Child("current"), h.Current)...)
		for name, expr := range map[string]string{"inProgress": h.InProgress, "failed": h.Failed, "current": h.Current} {
			if err := checkExpression(expr); err != nil {
				errs = append(errs, field.Invalid(at.Child(name), expr, "is not a CEL expression that says true or false: "+err.Error()))
			}
		}
	}
	return errs
}

func objectReference(p *field.Path, r v1alpha1.ObjectReference) field.ErrorList {
	errs := required(p.Child("apiVersion"), r.APIVersion)
	errs = append(errs, required(p.Child("kind"), r.Kind)...)
	return append(errs, required(p.Child("name"), r.Name)...)
}

func required(p *field.Path, value string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return nil
}
