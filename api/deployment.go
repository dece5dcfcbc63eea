package api

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The defaults of apps/v1.
const (
	defaultRevisionHistory  int32 = 10
	defaultProgressDeadline int32 = 600
)

func defaultDeployment(d *appsv1.Deployment) {
	s := &d.Spec
	setPointer(&s.Replicas, 1)
	setDefault(&s.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		setPointer(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		setPointer(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		setPointer(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	setPointer(&s.RevisionHistoryLimit, defaultRevisionHistory)
	setPointer(&s.ProgressDeadlineSeconds, defaultProgressDeadline)
	defaultPodSpec(&s.Template.Spec)
}

func validateDeployment(d *appsv1.Deployment) field.ErrorList {
	s, p := &d.Spec, field.NewPath("spec")
	errs := validateCounts(s.Replicas, s.MinReadySeconds, s.RevisionHistoryLimit, p)
	errs = append(errs, validateSelected(s.Selector, &s.Template, p)...)
	errs = append(errs, validateDeploymentStrategy(&s.Strategy, p.Child("strategy"))...)
	if l := s.ProgressDeadlineSeconds; l != nil {
		at := p.Child("progressDeadlineSeconds")
		errs = append(errs, nonNegative(at, *l)...)
		if *l >= 0 && *l <= s.MinReadySeconds {
			errs = append(errs, field.Invalid(at, *l, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func updateDeployment(n, old *appsv1.Deployment) field.ErrorList {
	return immutable(n.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
}

func validateDeploymentStrategy(s *appsv1.DeploymentStrategy, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("type"), s.Type, appsv1.RollingUpdateDeploymentStrategyType, appsv1.RecreateDeploymentStrategyType)
	at := p.Child("rollingUpdate")
	switch r := s.RollingUpdate; {
	case s.Type == appsv1.RecreateDeploymentStrategyType && r != nil:
		errs = append(errs, field.Forbidden(at, "may not be specified when strategy `type` is 'Recreate'"))
	case s.Type == appsv1.RollingUpdateDeploymentStrategyType && r != nil:
		errs = append(errs, validateSurge(r.MaxUnavailable, r.MaxSurge, at)...)
	}
	return errs
}

// validateSurge checks the two numbers of a rolling update, of which one at least must be more than 0.
func validateSurge(maxUnavailable, maxSurge *intstr.IntOrString, p *field.Path) field.ErrorList {
	surge, errs := share(maxSurge, p.Child("maxSurge"))
	at := p.Child("maxUnavailable")
	unavailable, errsU := share(maxUnavailable, at)
	errs = append(errs, errsU...)
	if len(errs) == 0 && surge == 0 && unavailable == 0 {
		errs = append(errs, field.Invalid(at, maxUnavailable.String(), "may not be 0 when `maxSurge` is 0"))
	}
	if maxUnavailable != nil && maxUnavailable.Type == intstr.String && unavailable > 100 {
		errs = append(errs, field.Invalid(at, maxUnavailable.StrVal, "must not be greater than 100%"))
	}
	return errs
}

func validateCounts(replicas *int32, minReady int32, history *int32, p *field.Path) field.ErrorList {
	errs := nonNegative(p.Child("minReadySeconds"), minReady)
	if replicas != nil {
		errs = append(errs, nonNegative(p.Child("replicas"), *replicas)...)
	}
	if history != nil {
		errs = append(errs, nonNegative(p.Child("revisionHistoryLimit"), *history)...)
	}
	return errs
}

// validateSelected checks the selector of apps/v1, which is never filled in, and the
// template that it has to select.
func validateSelected(selector *metav1.LabelSelector, t *corev1.PodTemplateSpec, p *field.Path) field.ErrorList {
	at := p.Child("selector")
	errs := validateLabelSelector(selector, at)
	if len(errs) == 0 {
		if s, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			errs = append(errs, field.Invalid(at, selector, err.Error()))
		} else if !s.Matches(labels.Set(t.Labels)) {
			errs = append(errs, field.Invalid(p.Child("template", "metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
		}
	}
	errs = append(errs, validatePodTemplate(t, nil, p.Child("template"))...)
	return append(errs, validateEndless(&t.Spec, p.Child("template", "spec"))...)
}

func validateLabelSelector(selector *metav1.LabelSelector, p *field.Path) field.ErrorList {
	if selector == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	errs := metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, p)
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(p, selector, "an empty selector would select every pod"))
	}
	return errs
}

// validateEndless: the pods of a controller that keeps a number of them running do not end.
func validateEndless(s *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r := s.RestartPolicy; r == corev1.RestartPolicyNever || r == corev1.RestartPolicyOnFailure {
		errs = append(errs, field.NotSupported(p.Child("restartPolicy"), r, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if s.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(p.Child("activeDeadlineSeconds"), "activeDeadlineSeconds in pods of a controller is not supported"))
	}
	return errs
}

func defaultReplicaSet(rs *appsv1.ReplicaSet) {
	setPointer(&rs.Spec.Replicas, 1)
	defaultPodSpec(&rs.Spec.Template.Spec)
}

func validateReplicaSet(rs *appsv1.ReplicaSet) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateCounts(rs.Spec.Replicas, rs.Spec.MinReadySeconds, nil, p)
	return append(errs, validateSelected(rs.Spec.Selector, &rs.Spec.Template, p)...)
}

func updateReplicaSet(n, old *appsv1.ReplicaSet) field.ErrorList {
	return immutable(n.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
}
