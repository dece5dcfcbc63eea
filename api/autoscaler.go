package api

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultCPUUtilization is what an autoscaler without metrics aims at, in percent of what
// its pods request.
const defaultCPUUtilization int32 = 80

// defaultScaleWindow is for how many seconds the highest recommendation holds before a
// target shrinks.
const defaultScaleWindow int32 = 300

// ModernAutoscaler brings a HorizontalPodAutoscaler of autoscaling/v1 or v2beta2 into the
// form of autoscaling/v2, in place. Others stay.
func ModernAutoscaler(u *unstructured.Unstructured) {
	if u.GetKind() != "HorizontalPodAutoscaler" {
		return
	}
	switch u.GetAPIVersion() {
	case "autoscaling/v2beta2":
		u.SetAPIVersion(autoscalingv2.SchemeGroupVersion.String())
	case "autoscaling/v1":
		u.SetAPIVersion(autoscalingv2.SchemeGroupVersion.String())
		percent, ok, err := unstructured.NestedFieldCopy(u.Object, "spec", "targetCPUUtilizationPercentage")
		if !ok || err != nil {
			return
		}
		unstructured.RemoveNestedField(u.Object, "spec", "targetCPUUtilizationPercentage")
		_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{
			"type":     string(autoscalingv2.ResourceMetricSourceType),
			"resource": map[string]any{"name": "cpu", "target": map[string]any{"type": "Utilization", "averageUtilization": percent}},
		}}, "spec", "metrics")
	}
}

func defaultAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	s := &h.Spec
	setPointer(&s.MinReplicas, 1)
	if len(s.Metrics) == 0 {
		percent := defaultCPUUtilization
		s.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		}}}
	}
	if s.Behavior == nil {
		return
	}
	pods := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}
	percent := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
	defaultScaling(&s.Behavior.ScaleUp, 0, pods, percent)
	defaultScaling(&s.Behavior.ScaleDown, defaultScaleWindow, percent)
}

func defaultScaling(r **autoscalingv2.HPAScalingRules, window int32, policies ...autoscalingv2.HPAScalingPolicy) {
	setPointer(r, autoscalingv2.HPAScalingRules{})
	setPointer(&(*r).StabilizationWindowSeconds, window)
	setPointer(&(*r).SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if (*r).Policies == nil {
		(*r).Policies = policies
	}
}

func validateAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	s, p := &h.Spec, field.NewPath("spec")
	errs := validateScaleTarget(&s.ScaleTargetRef, p.Child("scaleTargetRef"))
	if s.MinReplicas != nil {
		errs = append(errs, atLeast(p.Child("minReplicas"), *s.MinReplicas, 1, "must be greater than or equal to 1")...)
		errs = append(errs, atLeast(p.Child("maxReplicas"), s.MaxReplicas, max(*s.MinReplicas, 1), "must be set, and greater than or equal to `minReplicas`")...)
	}
	for i := range s.Metrics {
		errs = append(errs, validateMetric(&s.Metrics[i], p.Child("metrics").Index(i))...)
	}
	if b := s.Behavior; b != nil {
		errs = append(errs, validateScaling(b.ScaleUp, p.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateScaling(b.ScaleDown, p.Child("behavior", "scaleDown"))...)
	}
	return errs
}

func validateScaleTarget(r *autoscalingv2.CrossVersionObjectReference, p *field.Path) field.ErrorList {
	errs := named(p.Child("name"), r.Name, validation.IsDNS1123Subdomain)
	return append(errs, oneOf(p.Child("kind"), r.Kind, "Deployment", "DeploymentConfig", "ReplicaSet", "ReplicationController", "StatefulSet")...)
}

// validateMetric: what pods and containers use is measured; there is no service of metrics
// that applications make up.
func validateMetric(m *autoscalingv2.MetricSpec, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("type"), m.Type, autoscalingv2.ResourceMetricSourceType, autoscalingv2.ContainerResourceMetricSourceType)
	if len(errs) > 0 {
		return errs
	}
	var name corev1.ResourceName
	var target *autoscalingv2.MetricTarget
	at := p.Child("resource")
	switch {
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		name, target = m.Resource.Name, &m.Resource.Target
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		at = p.Child("containerResource")
		name, target = m.ContainerResource.Name, &m.ContainerResource.Target
		errs = append(errs, named(at.Child("container"), m.ContainerResource.Container, validation.IsDNS1123Label)...)
	default:
		return append(errs, field.Required(p, "the field of its type"))
	}
	errs = append(errs, oneOf(at.Child("name"), name, corev1.ResourceCPU, corev1.ResourceMemory)...)
	at = at.Child("target")
	errs = append(errs, oneOf(at.Child("type"), target.Type, autoscalingv2.UtilizationMetricType, autoscalingv2.AverageValueMetricType)...)
	switch {
	case target.Type == autoscalingv2.UtilizationMetricType && (target.AverageUtilization == nil || *target.AverageUtilization < 1):
		errs = append(errs, field.Required(at.Child("averageUtilization"), "with type Utilization, greater than 0"))
	case target.Type == autoscalingv2.AverageValueMetricType && (target.AverageValue == nil || target.AverageValue.Sign() <= 0):
		errs = append(errs, field.Required(at.Child("averageValue"), "with type AverageValue, greater than 0"))
	}
	return errs
}

func validateScaling(r *autoscalingv2.HPAScalingRules, p *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if w := r.StabilizationWindowSeconds; w != nil && (*w < 0 || *w > 3600) {
		errs = append(errs, field.Invalid(p.Child("stabilizationWindowSeconds"), *w, "must be between 0 and 3600"))
	}
	if r.SelectPolicy != nil {
		errs = append(errs, oneOf(p.Child("selectPolicy"), *r.SelectPolicy, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect)...)
	}
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(p.Child("policies"), "must specify at least one Policy"))
	}
	for i, policy := range r.Policies {
		at := p.Child("policies").Index(i)
		errs = append(errs, oneOf(at.Child("type"), policy.Type, autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy)...)
		errs = append(errs, positive(at.Child("value"), policy.Value)...)
		if policy.PeriodSeconds < 1 || policy.PeriodSeconds > 1800 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), policy.PeriodSeconds, "must be between 1 and 1800"))
		}
	}
	if t := r.Tolerance; t != nil && t.Sign() < 0 {
		errs = append(errs, field.Invalid(p.Child("tolerance"), t.String(), "must be greater than or equal to 0"))
	}
	return errs
}
