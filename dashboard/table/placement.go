package table

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"slipway.dev/slipway/api/v1alpha1"
)

func budgetCells(b *policyv1.PodDisruptionBudget, now time.Time) []any {
	text := func(v *intstr.IntOrString) string {
		if v == nil {
			return "N/A"
		}
		return v.String()
	}
	return []any{b.Name, text(b.Spec.MinAvailable), text(b.Spec.MaxUnavailable), b.Status.DisruptionsAllowed, age(b.CreationTimestamp, now)}
}

func priorityClassCells(c *schedulingv1.PriorityClass, now time.Time) []any {
	policy := ""
	if c.PreemptionPolicy != nil {
		policy = string(*c.PreemptionPolicy)
	}
	return []any{c.Name, c.Value, c.GlobalDefault, age(c.CreationTimestamp, now), policy}
}

func nodeConfigCells(c *v1alpha1.NodeConfig, now time.Time) []any {
	ready, message := Ready(c.Status.Conditions)
	scheduling := "Enabled"
	switch {
	case c.Spec.Gone:
		scheduling = "Gone"
	case c.Spec.Drain:
		scheduling = "Drain"
	case c.Spec.Unschedulable:
		scheduling = "Disabled"
	}
	drained := "<none>"
	for _, x := range c.Status.Conditions {
		if x.Type == v1alpha1.NodeConfigDrained {
			drained = string(x.Status)
			message = x.Message
		}
	}
	return []any{c.Name, ready, scheduling, drained, age(c.CreationTimestamp, now), firstLine(message)}
}
