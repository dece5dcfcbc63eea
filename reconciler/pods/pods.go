// Package pods is what controllers that keep pods have in common: which pods count, which
// of them are available, which one to delete first, how one is made from a template, and
// how those without an owner are taken in.
package pods

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// annotationDeletionCost says how much it costs to lose a pod, compared with its siblings;
// 0 where it is not given. The cheaper go first.
const annotationDeletionCost = "controller.kubernetes.io/pod-deletion-cost"

// Over says that a pod has ended and will not run again.
func Over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Leaving says that a pod is being deleted; its containers may still run.
func Leaving(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }

// Live says that a pod is neither over nor being deleted.
func Live(p *corev1.Pod) bool { return !Over(p) && !Leaving(p) }

// ReadySince is when a pod became ready; false while it is not.
func ReadySince(p *corev1.Pod) (time.Time, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// Ready says that a pod is ready.
func Ready(p *corev1.Pod) bool {
	_, ready := ReadySince(p)
	return ready
}

// AvailableIn is 0 for an available pod, else how long a ready pod still needs; false
// for one that is not ready.
func AvailableIn(p *corev1.Pod, minReadySeconds int32, now time.Time) (time.Duration, bool) {
	since, ready := ReadySince(p)
	if !ready {
		return 0, false
	}
	if minReadySeconds == 0 {
		return 0, true
	}
	return max(since.Add(time.Duration(minReadySeconds)*time.Second).Sub(now), 0), true
}

// Available says that a pod has been ready for minReadySeconds.
func Available(p *corev1.Pod, minReadySeconds int32, now time.Time) bool {
	left, ready := AvailableIn(p, minReadySeconds, now)
	return ready && left == 0
}

// Count counts pods of one kind.
type Count struct {
	// Live pods are neither over nor being deleted.
	Live int32
	// Leaving pods are being deleted, their containers may still run.
	Leaving int32
	// Ready pods are live and ready.
	Ready int32
	// Available pods are live and have been ready for minReadySeconds.
	Available int32
	// Next is how long until a ready pod becomes available by the passing of time; 0: none will.
	Next time.Duration
}

// CountOf counts pods at a moment.
func CountOf(all []*corev1.Pod, minReadySeconds int32, now time.Time) Count {
	var n Count
	for _, p := range all {
		switch {
		case Leaving(p):
			n.Leaving++
		case !Over(p):
			n.Live++
			left, ready := AvailableIn(p, minReadySeconds, now)
			if !ready {
				continue
			}
			n.Ready++
			if left == 0 {
				n.Available++
			} else {
				n.Next = Sooner(n.Next, left)
			}
		}
	}
	return n
}

// Sooner is the nearer of two moments to look again; 0 is never.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// ByWorth sorts live pods, the one to delete first in front: without a node before with
// one, pending before running, not ready before ready, the cheaper to lose, on a node with
// more of its siblings, ready for a shorter time, more restarts, then the youngest.
func ByWorth(all []*corev1.Pod) {
	beside := map[string]int{}
	for _, p := range all {
		beside[p.Spec.NodeName]++
	}
	truth := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	rank := map[corev1.PodPhase]int{corev1.PodPending: 0, "": 0, corev1.PodUnknown: 1, corev1.PodRunning: 2}
	slices.SortStableFunc(all, func(a, b *corev1.Pod) int {
		since1, ready1 := ReadySince(a)
		since2, ready2 := ReadySince(b)
		readyTime := 0
		if ready1 && ready2 {
			readyTime = since2.Compare(since1)
		}
		return cmp.Or(
			cmp.Compare(truth(a.Spec.NodeName != ""), truth(b.Spec.NodeName != "")),
			cmp.Compare(rank[a.Status.Phase], rank[b.Status.Phase]),
			cmp.Compare(truth(ready1), truth(ready2)),
			cmp.Compare(deletionCost(a), deletionCost(b)),
			cmp.Compare(beside[b.Spec.NodeName], beside[a.Spec.NodeName]),
			readyTime,
			cmp.Compare(restarts(b), restarts(a)),
			api.Older(b, a),
		)
	})
}

// deletionCost is 0 where the annotation cannot be read, as in Kubernetes.
func deletionCost(p *corev1.Pod) int32 {
	n, err := strconv.ParseInt(p.Annotations[annotationDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

func restarts(p *corev1.Pod) int32 {
	n := int32(0)
	for _, s := range p.Status.ContainerStatuses {
		n = max(n, s.RestartCount)
	}
	return n
}
