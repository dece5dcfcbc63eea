package schedule

import (
	"cmp"
	"container/heap"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// why is a set of causes for which a pod fits nowhere, and thus of what could help.
type why uint16

const (
	// whyPod: the pod itself, or what it names.
	whyPod why = 1 << iota
	// whySelector: no node has the labels.
	whySelector
	// whyNode: not ready, cordoned, tainted, under pressure.
	whyNode
	// whyRoom: too few resources left, or too many pods.
	whyRoom
	// whyTaken: another pod has the port or the disk.
	whyTaken
	// whyNear: nobody it wants to be near is there.
	whyNear
	// whyApart: somebody is there that it is to be apart from.
	whyApart
	// whySpread: too many of its like are there, or too few elsewhere.
	whySpread
	// whyVolume: claims and volumes.
	whyVolume
	whyAny why = 1<<iota - 1
	// whyPods: what pods ask of each other.
	whyPods = whyNear | whyApart | whySpread
)

// pending is a pod that has no node yet.
type pending struct {
	pod      *corev1.Pod
	priority int32
	asked    amounts
	// at is its place in the heap; -1: it waits, or is being bound.
	at int
	// cause is why it waits; 0: it does not.
	cause why
	since time.Time
	// stale: a write about it failed because it has changed; its next event brings it back.
	stale bool
	// alike is the refusal of a pod that asks for just the same; nil: not known.
	alike *refusal
}

// queue is the pods without a node: first those of the highest priority, then the oldest.
type queue struct {
	all  map[types.UID]*pending
	heap order
	// waiting are those that fitted nowhere.
	waiting map[types.UID]*pending
}

type order []*pending

func (o order) Len() int { return len(o) }
func (o order) Less(i, j int) bool {
	a, b := o[i], o[j]
	return cmp.Or(cmp.Compare(b.priority, a.priority), api.Older(a.pod, b.pod)) < 0
}
func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].at, o[j].at = i, j
}
func (o *order) Push(x any) {
	p := x.(*pending)
	p.at = len(*o)
	*o = append(*o, p)
}
func (o *order) Pop() any {
	old := *o
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*o = old[:len(old)-1]
	p.at = -1
	return p
}

func newQueue() *queue {
	return &queue{all: map[types.UID]*pending{}, waiting: map[types.UID]*pending{}}
}

// add puts a pod in, or takes note of its change. One that waits is looked at again only where what
// it asks for has changed: its status is ours to write.
func (q *queue) add(pod *corev1.Pod, priority int32) {
	p := q.all[pod.UID]
	if p == nil {
		p = &pending{pod: pod, priority: priority, asked: requests(pod), at: -1}
		q.all[pod.UID] = p
		heap.Push(&q.heap, p)
		return
	}
	same := equality.Semantic.DeepEqual(p.pod.Spec, pod.Spec) && equality.Semantic.DeepEqual(p.pod.Labels, pod.Labels)
	if version(pod.ResourceVersion) < version(p.pod.ResourceVersion) {
		return
	}
	p.pod = pod
	if !same || p.stale {
		p.stale, p.alike = false, nil
		p.priority, p.asked = priority, requests(pod)
		q.ready(p)
	}
}

// note keeps the newest version of a pod whose binding is under way.
func (q *queue) note(pod *corev1.Pod) {
	if p := q.all[pod.UID]; p != nil && version(pod.ResourceVersion) >= version(p.pod.ResourceVersion) {
		p.pod = pod
	}
}

// ready makes a pod's turn come.
func (q *queue) ready(p *pending) {
	p.cause = 0
	delete(q.waiting, p.pod.UID)
	if p.at >= 0 {
		heap.Fix(&q.heap, p.at)
		return
	}
	heap.Push(&q.heap, p)
}

func (q *queue) remove(uid types.UID) {
	if p := q.all[uid]; p != nil {
		if p.at >= 0 {
			heap.Remove(&q.heap, p.at)
		}
		delete(q.all, uid)
		delete(q.waiting, uid)
	}
}

// keep forgets all other pods.
func (q *queue) keep(there map[types.UID]bool) {
	for uid := range q.all {
		if !there[uid] {
			q.remove(uid)
		}
	}
}

// next takes out the pod whose turn it is; nil: there is none.
func (q *queue) next() *pending {
	if len(q.heap) == 0 {
		return nil
	}
	return heap.Pop(&q.heap).(*pending)
}

// wait puts a pod aside until something changes that its cause names.
func (q *queue) wait(p *pending, cause why, now time.Time) {
	if q.all[p.pod.UID] == p && p.at < 0 {
		p.cause, p.since = cause, now
		q.waiting[p.pod.UID] = p
	}
}

// unwait takes back a wait.
func (q *queue) unwait(p *pending) {
	p.cause = 0
	delete(q.waiting, p.pod.UID)
}

// wake brings back the pods that wait for any of these causes.
func (q *queue) wake(causes why) { q.wakeIf(causes, nil) }

func (q *queue) wakeIf(causes why, also func(*pending) bool) {
	for _, p := range q.waiting {
		if p.cause&causes != 0 && (also == nil || also(p)) {
			q.ready(p)
		}
	}
}

// revive brings back the pods that have waited for so long, and where the clock was set back those
// that would wait until it is as late again.
func (q *queue) revive(now time.Time, after time.Duration) {
	for _, p := range q.waiting {
		if waited := now.Sub(p.since); waited >= after || waited < 0 {
			q.ready(p)
		}
	}
}

// prioritize looks up every pod's priority anew.
func (q *queue) prioritize(of func(*corev1.Pod) int32) {
	for _, p := range q.all {
		p.priority = of(p.pod)
	}
	heap.Init(&q.heap)
}

func keyOf(pod *corev1.Pod) loop.Key { return client.ObjectKeyFromObject(pod) }
