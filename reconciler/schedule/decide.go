package schedule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Reasons counts the nodes that cannot run a pod, by why not.
type Reasons map[string]int

// String reads as Kubernetes' scheduler says it: `0/2 nodes are available: 1
// Insufficient cpu, 1 node(s) were unschedulable.`
func (r Reasons) String(nodes int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(r)) {
		parts = append(parts, fmt.Sprintf("%d %s", r[why], why))
	}
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}

// decision is where a pod goes, or why it goes nowhere.
type decision struct {
	host *host
	why  string
	// cause is what could help a pod that goes nowhere.
	cause why
}

// scratch is kept between decisions.
type scratch struct {
	fit          []*host
	totals, each []int64
	whys         []string
}

// decide chooses a node for a pod. Without one that fits it counts for each node the first predicate
// that refuses it, or all where the policy wants that. Of several that are equally good the first by
// name is taken.
func (w *world) decide(t *task, s *scratch) decision {
	if t.hopeless != "" {
		return decision{why: fmt.Sprintf("0/%d nodes are available: %s.", len(w.order), t.hopeless), cause: t.cause}
	}
	s.fit = s.fit[:0]
	reasons, cause := Reasons(nil), why(0)
	for _, h := range w.order {
		s.whys = s.whys[:0]
		for i := range w.policy.predicates {
			p, before := &w.policy.predicates[i], len(s.whys)
			if s.whys = p.check(t, h, s.whys); len(s.whys) == before {
				continue
			}
			if cause |= p.cause; !w.policy.all {
				break
			}
		}
		if len(s.whys) == 0 {
			s.fit = append(s.fit, h)
			continue
		}
		if reasons == nil {
			reasons = Reasons{}
		}
		for _, why := range s.whys {
			reasons[why]++
		}
	}
	if len(s.fit) == 0 {
		return decision{why: reasons.String(len(w.order)), cause: cause | whyPod}
	}
	return decision{host: s.fit[w.best(t, s)]}
}

// best is the index of the node with the highest sum of weighted scores.
func (w *world) best(t *task, s *scratch) int {
	if len(s.fit) == 1 {
		return 0
	}
	s.totals, s.each = sized(s.totals, len(s.fit)), sized(s.each, len(s.fit))
	clear(s.totals)
	for _, p := range w.policy.priorities {
		p.score(t, s.fit, s.each)
		for i, v := range s.each {
			s.totals[i] += v * p.weight
		}
	}
	best := 0
	for i, v := range s.totals {
		if v > s.totals[best] {
			best = i
		}
	}
	return best
}

func sized(s []int64, n int) []int64 {
	if cap(s) < n {
		return make([]int64, n)
	}
	return s[:n]
}

// book puts a pod on a node ahead of the write that says so.
func (w *world) book(p *placed, node string) {
	p.node, p.booked, p.version = node, true, 0
	w.place(p)
}

// unbook takes back a booking whose write failed, unless the watch has told of the pod since.
func (w *world) unbook(uid types.UID) {
	if p := w.pods[uid]; p != nil && p.booked {
		w.remove(p)
		w.freed(p)
	}
}

// confirm notes that a booking was written. Where the pods were listed after the write and it was not
// among them, the pod is gone again.
func (w *world) confirm(uid types.UID, version int64) {
	p := w.pods[uid]
	switch {
	case p == nil || !p.booked:
	case version <= w.listed:
		w.remove(p)
		w.freed(p)
	default:
		p.version = version
	}
}
