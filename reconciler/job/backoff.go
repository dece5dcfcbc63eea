package job

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// How long a Job waits after pods that failed in a row: 10 s, 20 s, 40 s and so on.
const (
	firstBackOff = 10 * time.Second
	maxBackOff   = 6 * time.Minute
)

// backOff is how long no pod may be made, for the pods that failed since the last that succeeded.
func backOff(pods []*corev1.Pod, now time.Time) time.Duration {
	over := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return !ended(p) })
	slices.SortFunc(over, func(a, b *corev1.Pod) int { return endedAt(b).Compare(endedAt(a)) })
	failures := 0
	for _, p := range over {
		if succeeded(p) {
			break
		}
		failures++
	}
	if failures == 0 {
		return 0
	}
	pause := min(firstBackOff<<min(failures-1, 10), maxBackOff)
	left := endedAt(over[0]).Add(pause).Sub(now)
	if left > pause+maxBackOff {
		// It ended in the future, by more than clocks differ: one was set back since.
		return 0
	}
	return max(left, 0)
}
