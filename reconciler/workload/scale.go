package workload

import (
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fenceposts are how many pods a rolling update may have above the replicas, rounded up,
// and how many below, rounded down; where both would be 0, it is one below. A Recreate has
// neither.
func fenceposts(d *appsv1.Deployment) (surge, unavailable int32) {
	u := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || u == nil {
		return 0, 0
	}
	want := number(d.Spec.Replicas)
	surge = scaledValue(u.MaxSurge, want, true)
	unavailable = scaledValue(u.MaxUnavailable, want, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, want)
}

// scaledValue is a number, or a percentage of a total as a number; 0 where it is not given
// or cannot be read, which validation does not let through.
func scaledValue(v *intstr.IntOrString, total int32, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(total), up)
	if err != nil {
		return 0
	}
	return int32(min(n, math.MaxInt32))
}

// total is how many pods sets ask for.
func total(sets []*appsv1.ReplicaSet) int32 {
	n := int32(0)
	for _, rs := range sets {
		n += number(rs.Spec.Replicas)
	}
	return n
}

// to is a set scaled to a number of pods, with the note of what the Deployment asked for.
func (r Rollout) to(rs *appsv1.ReplicaSet, n int32) *appsv1.ReplicaSet {
	out := rs.DeepCopy()
	out.Spec.Replicas = &n
	noteReplicas(out, r.Deployment)
	return out
}

// scaled brings the sets to the Deployment's replicas: the one that runs, where only one
// does, and otherwise each in proportion to its size, so that a rollout that is under way
// keeps its balance.
func (r Rollout) scaled(current *appsv1.ReplicaSet, olds []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	want := number(r.Deployment.Spec.Replicas)
	active := slices.DeleteFunc(byAge(r.Sets), func(rs *appsv1.ReplicaSet) bool { return number(rs.Spec.Replicas) == 0 })
	sizes := map[string]int32{}
	switch {
	case len(active) == 0 && current != nil:
		active = []*appsv1.ReplicaSet{current}
		sizes[current.Name] = want
	case len(active) == 0 && len(olds) > 0:
		active = olds[len(olds)-1:]
		sizes[active[0].Name] = want
	case len(active) == 0:
		return nil // It was paused before its first rollout.
	case len(active) == 1:
		sizes[active[0].Name] = want
	case r.saturated(current):
		for _, rs := range active {
			sizes[rs.Name] = 0
		}
		sizes[current.Name] = want
	case r.Deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		return nil
	default:
		sizes = r.proportions(active)
	}
	var out []*appsv1.ReplicaSet
	for _, rs := range active {
		if asked, ok := noted(rs, annotationDesired); number(rs.Spec.Replicas) != sizes[rs.Name] || ok && asked != want {
			out = append(out, r.to(rs, sizes[rs.Name]))
		}
	}
	return out
}

// saturated says that the newest set runs all pods there should be.
func (r Rollout) saturated(current *appsv1.ReplicaSet) bool {
	if current == nil {
		return false
	}
	asked, ok := noted(current, annotationDesired)
	want := number(r.Deployment.Spec.Replicas)
	return ok && asked == want && number(current.Spec.Replicas) == want && r.available(current) == want
}

// proportions gives each set its share of what is to be added or taken away. What rounding
// leaves goes to the largest; among equals to the newest when growing, the oldest when shrinking.
func (r Rollout) proportions(active []*appsv1.ReplicaSet) map[string]int32 {
	want := number(r.Deployment.Spec.Replicas)
	surge, _ := fenceposts(r.Deployment)
	allowed := int32(0)
	if want > 0 {
		allowed = want + surge
	}
	add := allowed - total(active)
	sorted := slices.Clone(active)
	if add > 0 {
		slices.Reverse(sorted)
	}
	slices.SortStableFunc(sorted, func(a, b *appsv1.ReplicaSet) int {
		return int(number(b.Spec.Replicas)) - int(number(a.Spec.Replicas))
	})
	sizes := map[string]int32{}
	added := int32(0)
	for _, rs := range sorted {
		share := r.share(rs, want, allowed)
		if add > 0 {
			share = min(share, add-added)
		} else {
			share = max(share, add-added)
		}
		if add == 0 {
			share = 0
		}
		sizes[rs.Name] = number(rs.Spec.Replicas) + share
		added += share
	}
	sizes[sorted[0].Name] = max(sizes[sorted[0].Name]+add-added, 0)
	return sizes
}

// share is by how much a set grows when the Deployment's most pods go from what they were
// when the set was last scaled to what they are now.
func (r Rollout) share(rs *appsv1.ReplicaSet, want, allowed int32) int32 {
	size := number(rs.Spec.Replicas)
	if want == 0 {
		return -size
	}
	before, ok := noted(rs, annotationMax)
	if !ok || before == 0 {
		before = r.Deployment.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	return int32(math.Round(float64(size)*float64(allowed)/float64(before))) - size
}
