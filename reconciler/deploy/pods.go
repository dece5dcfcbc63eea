package deploy

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func leaving(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }

func live(p *corev1.Pod) bool { return !over(p) && !leaving(p) }

// readySince is when a pod became ready; false while it is not.
func readySince(p *corev1.Pod) (time.Time, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// availableIn is 0 for an available pod, else how long a ready pod still needs; false
// for one that is not ready.
func availableIn(p *corev1.Pod, minReadySeconds int32, now time.Time) (time.Duration, bool) {
	since, ready := readySince(p)
	if !ready {
		return 0, false
	}
	if minReadySeconds == 0 {
		return 0, true
	}
	return max(since.Add(time.Duration(minReadySeconds)*time.Second).Sub(now), 0), true
}

// CountPods counts the pods of one version.
func CountPods(pods []*corev1.Pod, minReadySeconds int32, now time.Time) PodCount {
	var n PodCount
	for _, p := range pods {
		switch {
		case leaving(p):
			n.Leaving++
		case !over(p):
			n.Live++
			if left, ready := availableIn(p, minReadySeconds, now); ready && left == 0 {
				n.Available++
			} else if ready {
				n.Next = sooner(n.Next, left)
			}
		}
	}
	return n
}

// byWorth sorts live pods, the one to delete first in front: without a node before
// with one, pending before running, not ready before ready, ready for a shorter time,
// more restarts, then the youngest.
func byWorth(pods []*corev1.Pod) {
	truth := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	rank := map[corev1.PodPhase]int{corev1.PodPending: 0, "": 0, corev1.PodUnknown: 1, corev1.PodRunning: 2}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		since1, ready1 := readySince(a)
		since2, ready2 := readySince(b)
		readyTime := 0
		if ready1 && ready2 {
			readyTime = since2.Compare(since1)
		}
		return cmp.Or(
			cmp.Compare(truth(a.Spec.NodeName != ""), truth(b.Spec.NodeName != "")),
			cmp.Compare(rank[a.Status.Phase], rank[b.Status.Phase]),
			cmp.Compare(truth(ready1), truth(ready2)),
			readyTime,
			cmp.Compare(restarts(b), restarts(a)),
			b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(a.Name, b.Name),
		)
	})
}

func restarts(p *corev1.Pod) int32 {
	n := int32(0)
	for _, s := range p.Status.ContainerStatuses {
		n = max(n, s.RestartCount)
	}
	return n
}

func ownedBy(o metav1.Object, owner metav1.Object) bool {
	ref := metav1.GetControllerOf(o)
	return ref != nil && ref.UID == owner.GetUID()
}
