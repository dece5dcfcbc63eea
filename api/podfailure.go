package api

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of a podFailurePolicy, as Kubernetes has them.
const (
	maxFailureRules      = 20
	maxFailureExitCodes  = 255
	maxFailureConditions = 20
)

// validatePodFailurePolicy follows Kubernetes, without the action FailIndex, which needs a
// back-off limit per index.
func validatePodFailurePolicy(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		errs = append(errs, field.Invalid(p, s.Template.Spec.RestartPolicy, "only with restartPolicy Never in the template"))
	}
	rules := s.PodFailurePolicy.Rules
	if len(rules) > maxFailureRules {
		errs = append(errs, field.TooMany(p.Child("rules"), len(rules), maxFailureRules))
	}
	containers := sets.New[string]()
	for _, c := range append(slices.Clone(s.Template.Spec.InitContainers), s.Template.Spec.Containers...) {
		containers.Insert(c.Name)
	}
	for i := range rules {
		r, at := &rules[i], p.Child("rules").Index(i)
		errs = append(errs, oneOf(at.Child("action"), r.Action, batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore, batchv1.PodFailurePolicyActionCount)...)
		if (r.OnExitCodes == nil) == (len(r.OnPodConditions) == 0) {
			errs = append(errs, field.Required(at, "exactly one of onExitCodes and onPodConditions"))
		}
		if r.OnExitCodes != nil {
			errs = append(errs, validateExitCodes(r.OnExitCodes, containers, at.Child("onExitCodes"))...)
		}
		if len(r.OnPodConditions) > maxFailureConditions {
			errs = append(errs, field.TooMany(at.Child("onPodConditions"), len(r.OnPodConditions), maxFailureConditions))
		}
		for j, c := range r.OnPodConditions {
			errs = append(errs, named(at.Child("onPodConditions").Index(j).Child("type"), string(c.Type), func(string) []string { return nil })...)
			errs = append(errs, oneOf(at.Child("onPodConditions").Index(j).Child("status"), c.Status, corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown)...)
		}
	}
	return errs
}

func validateExitCodes(r *batchv1.PodFailurePolicyOnExitCodesRequirement, containers sets.Set[string], p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("operator"), r.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if r.ContainerName != nil && !containers.Has(*r.ContainerName) {
		errs = append(errs, field.Invalid(p.Child("containerName"), *r.ContainerName, "must be one of the template's containers or init containers"))
	}
	values := p.Child("values")
	switch {
	case len(r.Values) == 0:
		errs = append(errs, field.Required(values, "at least one exit code"))
	case len(r.Values) > maxFailureExitCodes:
		errs = append(errs, field.TooMany(values, len(r.Values), maxFailureExitCodes))
	}
	seen := sets.New[int32]()
	for i, v := range r.Values {
		switch {
		case seen.Has(v):
			errs = append(errs, field.Duplicate(values.Index(i), v))
		case v == 0 && r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn:
			errs = append(errs, field.Invalid(values.Index(i), v, "must not be 0 for the In operator"))
		case v < 0 || v > 255:
			errs = append(errs, field.Invalid(values.Index(i), v, "must be between 0 and 255"))
		}
		seen.Insert(v)
	}
	return errs
}
