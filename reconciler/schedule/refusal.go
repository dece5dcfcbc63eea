package schedule

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// refusal is why a pod fits nowhere, which goes for every pod of its controller that asks for just the
// same, as long as nothing has changed that could help. Thousands of such pods cost one decision.
type refusal struct {
	pod *corev1.Pod
	decision
	// at is when it was found; helped is the same without bookings, which only take room.
	at, helped int64
}

// maxRefusals bounds how many are kept; what is forgotten is found anew.
const maxRefusals = 4096

// judge decides about a pod whose turn it is. The task is nil where it fits nowhere.
func (w *world) judge(p *pending, s *scratch) (decision, *task) {
	w.relabel()
	owner := metav1.GetControllerOf(p.pod)
	if owner != nil {
		if r := w.refusals[owner.UID]; w.holds(r) && p.isLike(r) {
			return r.decision, nil
		}
	}
	t := w.task(p.pod)
	d := w.decide(t, s)
	if d.host != nil {
		return d, t
	}
	if owner != nil {
		p.alike = w.refuse(owner.UID, p, d)
	}
	return d, nil
}

// refuse notes a refusal.
func (w *world) refuse(owner types.UID, p *pending, d decision) *refusal {
	r := w.refusals[owner]
	if r == nil || !p.isLike(r) {
		if len(w.refusals) >= maxRefusals {
			clear(w.refusals)
		}
		r = &refusal{pod: p.pod}
		w.refusals[owner] = r
	}
	r.decision, r.at, r.helped = d, w.changes, w.helps
	return r
}

// holds says that nothing has changed since that could help. A booking can help where pods are to be
// near, or spread.
func (w *world) holds(r *refusal) bool {
	return r != nil && (r.at == w.changes || r.helped == w.helps && r.cause&(whyNear|whySpread) == 0)
}

// isLike says that a pod asks for just what the refused one asks for.
func (p *pending) isLike(r *refusal) bool {
	if p.alike != r {
		a, b := p.pod, r.pod
		if a.Namespace != b.Namespace || !equality.Semantic.DeepEqual(a.Labels, b.Labels) || !equality.Semantic.DeepEqual(a.Spec, b.Spec) {
			return false
		}
		p.alike = r
	}
	return true
}

// changed notes that the world is not as it was. booked: a pod was given a node, and nothing else.
func (w *world) changed(booked bool) {
	w.changes++
	if !booked {
		w.helps++
	}
}
