package api

import (
	"strconv"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The defaults of deployment strategies, in seconds.
const (
	defaultRolloutTimeout  int64 = 600
	defaultRolloutDeadline int64 = 21600
)

func defaultStrategy(s *appsv1.DeploymentStrategy) {
	setDefault(&s.Type, appsv1.DeploymentStrategyTypeRolling)
	setPointer(&s.ActiveDeadlineSeconds, defaultRolloutDeadline)
	switch s.Type {
	case appsv1.DeploymentStrategyTypeRolling:
		setPointer(&s.RollingParams, appsv1.RollingDeploymentStrategyParams{})
	case appsv1.DeploymentStrategyTypeRecreate:
		setPointer(&s.RecreateParams, appsv1.RecreateDeploymentStrategyParams{})
	}
	if r := s.RecreateParams; r != nil {
		setPointer(&r.TimeoutSeconds, defaultRolloutTimeout)
	}
	if r := s.RollingParams; r != nil {
		setPointer(&r.UpdatePeriodSeconds, 1)
		setPointer(&r.IntervalSeconds, 1)
		setPointer(&r.TimeoutSeconds, defaultRolloutTimeout)
		defaultSurge(r)
	}
}

// defaultSurge makes both 25% where neither is set, and the other 25% where one is
// zero, so that a rollout can always move. The other of a value that is not zero is 0.
func defaultSurge(r *appsv1.RollingDeploymentStrategyParams) {
	quarter, zero := intstr.FromString("25%"), intstr.FromInt32(0)
	other := func(v *intstr.IntOrString) intstr.IntOrString {
		if v == nil || *v == zero || *v == intstr.FromString("0%") {
			return quarter
		}
		return zero
	}
	surge, unavailable := other(r.MaxUnavailable), other(r.MaxSurge)
	setPointer(&r.MaxSurge, surge)
	setPointer(&r.MaxUnavailable, unavailable)
}

func validateStrategy(s *appsv1.DeploymentStrategy, minReady int32, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("type"), s.Type, appsv1.DeploymentStrategyTypeRolling, appsv1.DeploymentStrategyTypeRecreate, appsv1.DeploymentStrategyTypeCustom)
	errs = append(errs, validateResources(&s.Resources, p.Child("resources"))...)
	errs = append(errs, validateAnnotations(s.Annotations, p.Child("annotations"))...)
	var timeout *int64
	if r := s.RecreateParams; r != nil {
		timeout = r.TimeoutSeconds
		errs = append(errs, atLeastOne(r.TimeoutSeconds, p.Child("recreateParams", "timeoutSeconds"))...)
	}
	if r := s.RollingParams; r != nil {
		timeout = r.TimeoutSeconds
		errs = append(errs, validateRolling(r, minReady, p.Child("rollingParams"))...)
	}
	if c := s.CustomParams; c != nil {
		if strings.TrimSpace(c.Image) != "" {
			errs = append(errs, pullSpec(p.Child("customParams", "image"), c.Image)...)
		}
		errs = append(errs, validateEnv(c.Environment, p.Child("customParams", "environment"))...)
	}
	if s.Type == appsv1.DeploymentStrategyTypeCustom && (s.CustomParams == nil || strings.TrimSpace(s.CustomParams.Image) == "") {
		errs = append(errs, field.Required(p.Child("customParams", "image"), "with strategy Custom"))
	}
	if d := s.ActiveDeadlineSeconds; d != nil {
		at := p.Child("activeDeadlineSeconds")
		errs = append(errs, atLeastOne(d, at)...)
		if timeout != nil && *timeout >= *d {
			errs = append(errs, field.Invalid(at, *d, "must be greater than the strategy's timeoutSeconds "+strconv.FormatInt(*timeout, 10)))
		}
	}
	return errs
}

func validateRolling(r *appsv1.RollingDeploymentStrategyParams, minReady int32, p *field.Path) field.ErrorList {
	errs := atLeastOne(r.IntervalSeconds, p.Child("intervalSeconds"))
	errs = append(errs, atLeastOne(r.UpdatePeriodSeconds, p.Child("updatePeriodSeconds"))...)
	errs = append(errs, atLeastOne(r.TimeoutSeconds, p.Child("timeoutSeconds"))...)
	if r.TimeoutSeconds != nil && int64(minReady) >= *r.TimeoutSeconds {
		errs = append(errs, field.Invalid(p.Child("timeoutSeconds"), *r.TimeoutSeconds, "must be greater than minReadySeconds"))
	}
	surge, errsS := share(r.MaxSurge, p.Child("maxSurge"))
	unavailable, errsU := share(r.MaxUnavailable, p.Child("maxUnavailable"))
	errs = append(append(errs, errsS...), errsU...)
	if len(errsS)+len(errsU) == 0 && surge == 0 && unavailable == 0 {
		errs = append(errs, field.Invalid(p.Child("maxUnavailable"), 0, "cannot be 0 when maxSurge is 0 as well"))
	}
	if r.MaxUnavailable != nil && r.MaxUnavailable.Type == intstr.String && unavailable > 100 {
		errs = append(errs, field.Invalid(p.Child("maxUnavailable"), r.MaxUnavailable.StrVal, "must not be greater than 100%"))
	}
	return errs
}

func atLeastOne(v *int64, p *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	return atLeast(p, *v, 1, "must be >0")
}

// share is a number or a percentage, as a number; 0 where it is not given.
func share(v *intstr.IntOrString, p *field.Path) (int, field.ErrorList) {
	if v == nil {
		return 0, nil
	}
	if v.Type == intstr.Int {
		return int(v.IntVal), nonNegative(p, v.IntVal)
	}
	if errs := invalid(p, v.StrVal, validation.IsValidPercent(v.StrVal)); len(errs) > 0 {
		return 0, errs
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(v.StrVal, "%"), 10, 32)
	if err != nil {
		return 0, field.ErrorList{field.Invalid(p, v.StrVal, "is out of range")}
	}
	return int(n), nil
}
