package api

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateDisruptionBudget(b *policyv1.PodDisruptionBudget) field.ErrorList {
	s, p := &b.Spec, field.NewPath("spec")
	var errs field.ErrorList
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(p, "", "minAvailable and maxUnavailable cannot be both set"))
	}
	if s.MinAvailable == nil && s.MaxUnavailable == nil {
		errs = append(errs, field.Required(p, "one of minAvailable and maxUnavailable"))
	}
	for name, v := range map[string]*intstr.IntOrString{"minAvailable": s.MinAvailable, "maxUnavailable": s.MaxUnavailable} {
		if v != nil {
			errs = append(errs, amountOrShare(*v, p.Child(name))...)
		}
	}
	if u := s.UnhealthyPodEvictionPolicy; u != nil {
		errs = append(errs, oneOf(p.Child("unhealthyPodEvictionPolicy"), *u, policyv1.IfHealthyBudget, policyv1.AlwaysAllow)...)
	}
	return append(errs, labelSelector(s.Selector, p.Child("selector"))...)
}

// amountOrShare is a number of pods, or a percentage from 0% to 100%.
func amountOrShare(v intstr.IntOrString, p *field.Path) field.ErrorList {
	if v.Type == intstr.Int {
		return nonNegative(p, v.IntVal)
	}
	if msgs := validation.IsValidPercent(v.StrVal); len(msgs) > 0 {
		return invalid(p, v.StrVal, msgs)
	}
	share, err := intstr.GetScaledValueFromIntOrPercent(&v, 100, false)
	if err != nil || share > 100 {
		return field.ErrorList{field.Invalid(p, v.StrVal, "must not be greater than 100%")}
	}
	return nil
}
