package api

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultReplicationController(rc *corev1.ReplicationController) {
	setPointer(&rc.Spec.Replicas, 1)
	if rc.Spec.Template == nil {
		return
	}
	if len(rc.Spec.Selector) == 0 {
		rc.Spec.Selector = maps.Clone(rc.Spec.Template.Labels)
	}
	if len(rc.Labels) == 0 {
		rc.Labels = maps.Clone(rc.Spec.Template.Labels)
	}
	defaultPodSpec(&rc.Spec.Template.Spec)
}

func validateReplicationController(rc *corev1.ReplicationController) field.ErrorList {
	p := field.NewPath("spec")
	errs := nonNegative(p.Child("minReadySeconds"), rc.Spec.MinReadySeconds)
	if rc.Spec.Replicas != nil {
		errs = append(errs, nonNegative(p.Child("replicas"), *rc.Spec.Replicas)...)
	}
	return append(errs, validateReplicated(rc.Spec.Template, rc.Spec.Selector, nil, p)...)
}
