package deploy

import (
	"fmt"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fenceposts resolves maxSurge and maxUnavailable against the desired replicas:
// percentages of surge round up, of unavailable down. Both resolving to 0 would make
// no progress: then one may be unavailable.
func fenceposts(p *appsv1.RollingDeploymentStrategyParams, desired int32) (surge, unavailable int32) {
	var maxSurge, maxUnavailable *intstr.IntOrString
	if p != nil {
		maxSurge, maxUnavailable = p.MaxSurge, p.MaxUnavailable
	}
	quarter, none := intstr.FromString("25%"), intstr.FromInt32(0)
	isZero := func(v *intstr.IntOrString) bool {
		return v != nil && (v.String() == "0" || v.String() == "0%")
	}
	switch {
	case maxSurge == nil && maxUnavailable == nil, maxSurge == nil && isZero(maxUnavailable):
		maxSurge = &quarter
		if maxUnavailable == nil {
			maxUnavailable = &quarter
		}
	case maxUnavailable == nil && isZero(maxSurge):
		maxUnavailable = &quarter
	}
	resolve := func(v *intstr.IntOrString, up bool) int32 {
		if v == nil {
			v = &none
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(v, int(desired), up)
		if err != nil {
			n, _ = intstr.GetScaledValueFromIntOrPercent(&quarter, int(desired), up)
		}
		return int32(max(n, 0))
	}
	surge, unavailable = resolve(maxSurge, true), resolve(maxUnavailable, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// rolling scales the new version up as far as the surge allows, lets things settle
// for the update period, and scales the old ones down as far as minimum availability
// allows, until all is new.
func (r Rollout) rolling(p *appsv1.RollingDeploymentStrategyParams, timeout time.Duration) Move {
	desired := desiredReplicas(r.To)
	surge, unavailable := fenceposts(p, desired)
	minAvailable := max(desired-unavailable, 0)

	oldAsked, oldThere := int32(0), int32(0)
	for _, rc := range r.old() {
		oldAsked += replicas(rc)
		oldThere += max(replicas(rc), r.Pods[rc.Name].Live)
	}
	asked := replicas(r.To)
	switch {
	case asked == desired && oldThere == 0:
		return Move{}
	case asked == desired && oldAsked == 0:
		return r.wait(timeout, 0, "the old pods to be deleted")
	}
	if asked < desired {
		// What was scaled down but is still there takes up room too.
		there := max(asked, r.Pods[r.To.Name].Live)
		if more := min(desired+surge-oldThere-there, desired-asked); more > 0 {
			return Move{Scale: []Scale{{r.To.Name, asked + more}}}
		}
	}
	if settle := timeAt(r.To, annotationScaled).Add(seconds(p.UpdatePeriodSeconds, defaultUpdatePeriod)).Sub(r.Now); settle > 0 && oldAsked > 0 {
		return r.wait(timeout, settle, "the update period")
	}
	if down := r.scaleDown(oldAsked, minAvailable); len(down) > 0 {
		return Move{Scale: down}
	}
	return r.wait(timeout, r.Pods[r.To.Name].Next, fmt.Sprintf("pods of %s to become available (%d of %d are)",
		r.To.Name, r.Pods[r.To.Name].Available, desired))
}

// scaleDown shares out what the old versions may lose: old + new − minAvailable −
// newUnavailable in all, unavailable pods first; of available ones never so many that
// fewer than minAvailable are left.
func (r Rollout) scaleDown(oldAsked, minAvailable int32) []Scale {
	newAvailable := min(r.Pods[r.To.Name].Available, replicas(r.To))
	budget := oldAsked + newAvailable - minAvailable
	if budget <= 0 || oldAsked == 0 {
		return nil
	}
	old := r.old()
	left := make([]int32, len(old))
	for i, rc := range old {
		left[i] = replicas(rc)
		n := min(left[i]-min(r.Pods[rc.Name].Available, left[i]), budget)
		left[i], budget = left[i]-n, budget-n
	}
	// What the budget holds still is what the available ones exceed minAvailable by.
	for i := range old {
		n := min(left[i], budget)
		left[i], budget = left[i]-n, budget-n
	}
	var scales []Scale
	for i, rc := range old {
		if left[i] != replicas(rc) {
			scales = append(scales, Scale{rc.Name, left[i]})
		}
	}
	return scales
}
