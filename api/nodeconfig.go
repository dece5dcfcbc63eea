package api

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// TaintPrefix begins the keys of taints that Slipway itself puts on nodes, with Kubernetes' names.
const TaintPrefix = "node.kubernetes.io/"

// ofTheMachine are the labels that only the node itself can know.
var ofTheMachine = []string{corev1.LabelHostname, corev1.LabelOSStable, corev1.LabelArchStable}

func validateNodeConfig(c *v1alpha1.NodeConfig) field.ErrorList {
	p := field.NewPath("spec")
	errs := metav1validation.ValidateLabels(c.Spec.Labels, p.Child("labels"))
	for _, name := range slices.Sorted(maps.Keys(c.Spec.Labels)) {
		if slices.Contains(ofTheMachine, name) {
			errs = append(errs, field.Forbidden(p.Child("labels").Key(name), "is the node's own to say"))
		}
	}
	type identity struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := map[identity]bool{}
	for i, t := range c.Spec.Taints {
		at := p.Child("taints").Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		errs = append(errs, invalid(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
		errs = append(errs, oneOf(at.Child("effect"), t.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		if strings.HasPrefix(t.Key, TaintPrefix) {
			errs = append(errs, field.Forbidden(at.Child("key"), "taints of "+TaintPrefix+" are given by Slipway: use unschedulable, drain or gone"))
		}
		if t.TimeAdded != nil {
			errs = append(errs, field.Forbidden(at.Child("timeAdded"), "is given by Slipway"))
		}
		if id := (identity{t.Key, t.Effect}); seen[id] {
			errs = append(errs, field.Duplicate(at, t.Key+":"+string(t.Effect)))
		} else {
			seen[id] = true
		}
	}
	return errs
}
