package pods

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

const (
	// burst bounds the pods made or deleted in one pass.
	burst = 100
	// keptOver is how many pods that are over stay, so that their logs can be read.
	keptOver = 3
)

// Change is what a number of pods that are to run asks for.
type Change struct {
	// Create is how many pods to make.
	Create int
	// Delete lists pods to delete.
	Delete []*corev1.Pod
	// After says when time alone may change the answer.
	After time.Duration
}

// Keep compares pods with how many of them are to run. Pods that are over are replaced;
// where several were over in a row, ever later, so that a pod that cannot live does not
// eat the machine.
func Keep(want int32, all []*corev1.Pod, now time.Time) Change {
	var alive, dead []*corev1.Pod
	for _, p := range all {
		switch {
		case Live(p):
			alive = append(alive, p)
		case Over(p) && !Leaving(p):
			dead = append(dead, p)
		}
	}
	slices.SortFunc(dead, func(a, b *corev1.Pod) int { return api.Older(b, a) })
	var c Change
	keep := keptOver
	if want == 0 {
		keep = 0
	}
	c.Delete = append(c.Delete, dead[min(keep, len(dead)):]...)

	switch diff := int(want) - len(alive); {
	case diff > 0:
		if n := min(len(dead), keptOver); n > 1 {
			pause := time.Second << (2 * (n - 1))
			if left := dead[0].CreationTimestamp.Add(pause).Sub(now); left > 0 {
				c.After = left
				return c
			}
		}
		c.Create = min(diff, burst)
	case diff < 0:
		ByWorth(alive)
		c.Delete = append(c.Delete, alive[:min(-diff, burst)]...)
	}
	return c
}
