package health

import (
	"cmp"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

// application is what its own Ready says: an Application that declares others is ready when
// they are. A suspended one is left as it stands.
func application(a *v1alpha1.Application) Health {
	if a.Spec.Suspend {
		return current("is suspended")
	}
	return byReady(a.Status.Conditions, a.Generation, "has not been looked at yet")
}

func gitRepository(r *v1alpha1.GitRepository) Health {
	if r.Spec.Suspend {
		return current("is suspended")
	}
	return byReady(r.Status.Conditions, r.Generation, "has not been fetched yet")
}

// promotion that waits for its tag or its repository is in progress, not failed.
func promotion(p *v1alpha1.Promotion) Health {
	h := byReady(p.Status.Conditions, p.Generation, "has not been looked at yet")
	if c := meta.FindStatusCondition(p.Status.Conditions, "Ready"); h.State == Failed && c.Reason == "Waiting" {
		h.State = InProgress
	}
	return h
}

func byReady(conditions []metav1.Condition, generation int64, none string) Health {
	c := meta.FindStatusCondition(conditions, "Ready")
	switch {
	case c == nil || c.ObservedGeneration < generation:
		return progress("%s", none)
	case c.Status == metav1.ConditionTrue:
		return Health{State: Current}
	case c.Status == metav1.ConditionFalse:
		return failed("%s", cmp.Or(c.Message, c.Reason))
	}
	return progress("%s", cmp.Or(c.Message, c.Reason))
}
