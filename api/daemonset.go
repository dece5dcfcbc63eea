package api

import (
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultDaemonSet(d *appsv1.DaemonSet) {
	u := &d.Spec.UpdateStrategy
	setDefault(&u.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		setPointer(&u.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		setPointer(&u.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		setPointer(&u.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	setPointer(&d.Spec.RevisionHistoryLimit, defaultRevisionHistory)
	defaultPodSpec(&d.Spec.Template.Spec)
}

func validateDaemonSet(d *appsv1.DaemonSet) field.ErrorList {
	s, p := &d.Spec, field.NewPath("spec")
	errs := validateCounts(nil, s.MinReadySeconds, s.RevisionHistoryLimit, p)
	errs = append(errs, validateSelected(s.Selector, &s.Template, p)...)
	at := p.Child("updateStrategy")
	errs = append(errs, oneOf(at.Child("type"), s.UpdateStrategy.Type, appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType)...)
	r := s.UpdateStrategy.RollingUpdate
	if r == nil || s.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		return errs
	}
	at = at.Child("rollingUpdate")
	surge, errsS := share(r.MaxSurge, at.Child("maxSurge"))
	unavailable, errsU := share(r.MaxUnavailable, at.Child("maxUnavailable"))
	errs = append(append(errs, errsS...), errsU...)
	switch {
	case len(errsS)+len(errsU) > 0:
	case surge > 0 && unavailable > 0:
		errs = append(errs, field.Invalid(at.Child("maxSurge"), r.MaxSurge.String(), "may not be set when maxUnavailable is non-zero"))
	case surge == 0 && unavailable == 0:
		errs = append(errs, field.Required(at.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func updateDaemonSet(n, old *appsv1.DaemonSet) field.ErrorList {
	return immutable(n.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
}

// validateControllerRevision: a revision holds a template as it was.
func validateControllerRevision(r *appsv1.ControllerRevision) field.ErrorList {
	errs := nonNegative(field.NewPath("revision"), r.Revision)
	if len(r.Data.Raw) == 0 && r.Data.Object == nil {
		errs = append(errs, field.Required(field.NewPath("data"), ""))
	}
	return errs
}

func updateControllerRevision(n, old *appsv1.ControllerRevision) field.ErrorList {
	var a, b any
	if json.Unmarshal(n.Data.Raw, &a) == nil && json.Unmarshal(old.Data.Raw, &b) == nil && equality.Semantic.DeepEqual(a, b) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("data"), "", "field is immutable")}
}
