package schedule

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (w *world) host(name string) *host {
	h := w.hosts[name]
	if h == nil {
		h = newHost(name)
		w.hosts[name] = h
	}
	return h
}

// listNodes forgets the nodes that a list does not have.
func (w *world) listNodes(objects []client.Object) {
	there := map[string]bool{}
	for _, o := range objects {
		there[o.GetName()] = true
	}
	for _, h := range slices.Clone(w.order) {
		if !there[h.name] {
			w.sawNode(watch.Deleted, h.node)
		}
	}
}

func (w *world) sawNode(event watch.EventType, o client.Object) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return
	}
	at, found := slices.BinarySearchFunc(w.order, n.Name, func(h *host, name string) int { return strings.Compare(h.name, name) })
	if event == watch.Deleted {
		if found {
			w.order[at].node = nil
			w.order = slices.Delete(w.order, at, at+1)
		}
		if h := w.hosts[n.Name]; h != nil && len(h.pods) == 0 {
			delete(w.hosts, n.Name)
		}
		w.changed(false)
		w.queue.wake(whyPods)
		return
	}
	h := w.host(n.Name)
	before := *h
	h.set(n)
	if !found {
		w.order = slices.Insert(w.order, at, h)
		w.changed(false)
		w.queue.wake(whyAny)
		return
	}
	helps, differs := difference(&before, h)
	if differs {
		w.changed(false)
	}
	w.queue.wake(helps &^ whyRoom)
	if helps&whyRoom != 0 {
		w.queue.wakeIf(whyRoom, func(p *pending) bool { return h.fits(p.asked) })
	}
}

// difference says which reasons a node's change may have taken away, and whether anything has changed
// but its heartbeat. What only got worse wakes nobody, so that a node that comes and goes does not keep
// thousands of pods busy that do not fit.
func difference(before, h *host) (helps why, differs bool) {
	a, b := before.node, h.node
	lost := func(t corev1.Taint) bool {
		return !slices.ContainsFunc(b.Spec.Taints, func(u corev1.Taint) bool { return u.Key == t.Key && u.Value == t.Value && u.Effect == t.Effect })
	}
	eased := false
	for p := range before.pressure {
		eased = eased || !h.pressure[p]
	}
	if eased || h.ready && !before.ready || a.Spec.Unschedulable && !b.Spec.Unschedulable || slices.ContainsFunc(a.Spec.Taints, lost) {
		helps |= whyNode
	}
	if !equality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) {
		// Where tainted nodes take no part in a spread, a new taint may help too.
		helps |= whySpread
	}
	if !equality.Semantic.DeepEqual(a.Labels, b.Labels) {
		helps |= whyAny
	}
	if !equality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) {
		helps |= whyRoom
	}
	return helps, helps != 0 || before.ready != h.ready || a.Spec.Unschedulable != b.Spec.Unschedulable || !maps.Equal(before.pressure, h.pressure)
}
