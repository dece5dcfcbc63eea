package workload

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/pods"
)

// Rollout is what there is of a Deployment, at one moment.
type Rollout struct {
	Deployment *appsv1.Deployment
	// Sets are the ReplicaSets that the Deployment owns.
	Sets []*appsv1.ReplicaSet
	// Pods counts each set's pods, by the set's name.
	Pods map[string]pods.Count
	Now  time.Time
}

// Decision is what a Deployment's state asks for. It is a value; the zero Decision: nothing
// but to wait.
type Decision struct {
	// Create is the ReplicaSet of a template that has none.
	Create *appsv1.ReplicaSet
	// Update lists sets as they should be: their replicas, annotations and minReadySeconds.
	Update []*appsv1.ReplicaSet
	// Delete lists sets beyond the history limit, oldest first.
	Delete []*appsv1.ReplicaSet
	// After says in how long time alone may change the answer; 0: never.
	After time.Duration
}

func (d Decision) nothing() bool { return d.Create == nil && len(d.Update)+len(d.Delete) == 0 }

// Decide says what a Deployment needs next. It is a pure function of what is there.
func Decide(r Rollout) Decision {
	d := r.Deployment
	if d.DeletionTimestamp != nil {
		return Decision{}
	}
	current, olds := r.split()
	if current != nil {
		if noted := withNotes(d, current, newRevision(olds)); noted != nil {
			return Decision{Update: []*appsv1.ReplicaSet{noted}}
		}
	}
	var out Decision
	if d.Spec.Paused || r.rescaled() {
		out.Update = r.scaled(current, olds)
	}
	switch {
	case d.Spec.Paused || !out.nothing():
	case d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		out = r.recreate(current, olds)
	default:
		out = r.roll(current, olds)
	}
	if out.nothing() && (d.Spec.Paused || r.complete()) {
		out.Delete = r.surplus(olds)
	}
	for _, n := range r.Pods {
		out.After = pods.Sooner(out.After, n.Next)
	}
	return out
}

// split finds the set of the Deployment's template: the oldest, should there be several.
// All others are old, sorted oldest first.
func (r Rollout) split() (current *appsv1.ReplicaSet, olds []*appsv1.ReplicaSet) {
	for _, rs := range byAge(r.Sets) {
		if current == nil && sameTemplate(&rs.Spec.Template, &r.Deployment.Spec.Template) {
			current = rs
			continue
		}
		olds = append(olds, rs)
	}
	return current, olds
}

func byAge(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	sorted := slices.Clone(sets)
	slices.SortStableFunc(sorted, func(a, b *appsv1.ReplicaSet) int {
		return api.Older(a, b)
	})
	return sorted
}

// rescaled says that the Deployment's replicas are others than when its sets were last
// scaled: then the sets are brought to the new number before a rollout goes on.
func (r Rollout) rescaled() bool {
	return slices.ContainsFunc(r.Sets, func(rs *appsv1.ReplicaSet) bool {
		asked, ok := noted(rs, annotationDesired)
		return number(rs.Spec.Replicas) > 0 && ok && asked != number(r.Deployment.Spec.Replicas)
	})
}

// available is how many pods of a set count as available: no more than are to stay.
func (r Rollout) available(rs *appsv1.ReplicaSet) int32 {
	return min(r.Pods[rs.Name].Available, number(rs.Spec.Replicas))
}

func (r Rollout) recreate(current *appsv1.ReplicaSet, olds []*appsv1.ReplicaSet) Decision {
	var out Decision
	running := int32(0)
	for _, rs := range olds {
		if number(rs.Spec.Replicas) > 0 {
			out.Update = append(out.Update, r.to(rs, 0))
		}
		running += r.Pods[rs.Name].Live + r.Pods[rs.Name].Leaving
	}
	switch want := number(r.Deployment.Spec.Replicas); {
	case len(out.Update) > 0:
	case running > 0:
		out.After = watchdog
	case current == nil:
		out.Create = newSet(r.Deployment, want, newRevision(olds))
	case number(current.Spec.Replicas) != want:
		out.Update = append(out.Update, r.to(current, want))
	}
	return out
}

// watchdog is how long a wait for pods to leave lasts where no event ends it.
const watchdog = 2 * time.Second

func (r Rollout) roll(current *appsv1.ReplicaSet, olds []*appsv1.ReplicaSet) Decision {
	want, have := number(r.Deployment.Spec.Replicas), total(r.Sets)
	surge, unavailable := fenceposts(r.Deployment)
	grown := func(now int32) int32 { return now + min(max(want+surge-have, 0), want-now) }
	switch {
	case current == nil:
		return Decision{Create: newSet(r.Deployment, grown(0), newRevision(olds))}
	case number(current.Spec.Replicas) > want:
		return Decision{Update: []*appsv1.ReplicaSet{r.to(current, want)}}
	}
	if n := grown(number(current.Spec.Replicas)); n != number(current.Spec.Replicas) {
		return Decision{Update: []*appsv1.ReplicaSet{r.to(current, n)}}
	}
	return Decision{Update: r.shrunk(current, olds, want-unavailable)}
}

// shrunk takes pods from old sets: first those that are not available anyway, then, from
// the oldest on, as many as availability allows.
func (r Rollout) shrunk(current *appsv1.ReplicaSet, olds []*appsv1.ReplicaSet, least int32) []*appsv1.ReplicaSet {
	spare := total(r.Sets) - least - (number(current.Spec.Replicas) - r.available(current))
	available := int32(0)
	left := map[string]int32{}
	for _, rs := range r.Sets {
		left[rs.Name] = number(rs.Spec.Replicas)
		available += r.available(rs)
	}
	for _, rs := range olds {
		n := max(min(spare, left[rs.Name]-r.available(rs)), 0)
		left[rs.Name] -= n
		spare -= n
	}
	spare = min(spare, available-least)
	for _, rs := range olds {
		n := max(min(spare, left[rs.Name]), 0)
		left[rs.Name] -= n
		spare -= n
	}
	var out []*appsv1.ReplicaSet
	for _, rs := range olds {
		if left[rs.Name] != number(rs.Spec.Replicas) {
			out = append(out, r.to(rs, left[rs.Name]))
		}
	}
	return out
}

// complete says that all pods there are, and as many as there should be, are of the
// Deployment's template and available.
func (r Rollout) complete() bool {
	s := r.counted()
	want := number(r.Deployment.Spec.Replicas)
	return s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
}

// surplus lists the sets that the history limit leaves no room for, oldest revision first.
func (r Rollout) surplus(olds []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	limit := r.Deployment.Spec.RevisionHistoryLimit
	if limit == nil {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(olds), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	slices.SortStableFunc(kept, func(a, b *appsv1.ReplicaSet) int { return cmp.Compare(revisionOf(a), revisionOf(b)) })
	var out []*appsv1.ReplicaSet
	for _, rs := range kept[:max(len(kept)-int(*limit), 0)] {
		if number(rs.Spec.Replicas) == 0 && rs.Status.Replicas == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			out = append(out, rs)
		}
	}
	return out
}
