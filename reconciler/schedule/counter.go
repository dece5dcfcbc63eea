package schedule

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// maxCounters bounds how many selectors are followed; the longest unused are forgotten, and counted
// anew when somebody asks again.
const maxCounters = 8192

// question is about pods: which of them.
type question struct {
	// namespaces in order; all: of any.
	namespaces []string
	all        bool
	// selectors: a pod must match every one, or one of them where any is set.
	selectors []labels.Selector
	any       bool
	// owner, where set, answers as a further selector does.
	owner types.UID
	// staying leaves out pods that are being deleted.
	staying bool
}

func (q *question) key() string {
	var b strings.Builder
	for _, s := range q.selectors {
		// One that matches nothing reads like one that matches all.
		if _, selectable := s.Requirements(); !selectable {
			b.WriteByte('!')
		}
		b.WriteString(s.String())
		b.WriteByte('|')
	}
	b.WriteString(string(q.owner))
	for _, flag := range []bool{q.all, q.any, q.staying} {
		if flag {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	for _, ns := range q.namespaces {
		b.WriteByte(',')
		b.WriteString(ns)
	}
	return b.String()
}

func (q *question) matches(namespace string, owner types.UID, set labels.Set) bool {
	if !q.all && !slices.Contains(q.namespaces, namespace) {
		return false
	}
	for _, s := range q.selectors {
		if s.Matches(set) == q.any {
			return q.any
		}
	}
	if q.owner != "" && q.any {
		return q.owner == owner
	}
	return !q.any
}

// counter is how many pods of each node answer a question.
type counter struct {
	question
	on    map[string]int
	total int
	used  int64
}

func (c *counter) add(p *placed, n int) {
	if c.staying && p.leaving || !c.matches(p.key.Namespace, p.owner, p.labels) {
		return
	}
	c.total += n
	if c.on[p.node] += n; c.on[p.node] == 0 {
		delete(c.on, p.node)
	}
}

// counters are those that are followed, by their key, and by the namespaces that they are about.
type counters struct {
	byKey map[string]*counter
	in    map[string]map[string]*counter
	tick  int64
}

// everywhere stands for any namespace in counters.in.
const everywhere = ""

func newCounters() *counters {
	return &counters{byKey: map[string]*counter{}, in: map[string]map[string]*counter{}}
}

func (c *counters) add(p *placed, n int) {
	for _, list := range []map[string]*counter{c.in[p.key.Namespace], c.in[everywhere]} {
		for _, one := range list {
			one.add(p, n)
		}
	}
}

func (c *counters) places(q *question) []string {
	if q.all {
		return []string{everywhere}
	}
	return q.namespaces
}

// count answers a question, from what is followed or else by one look at the pods of its namespaces.
func (w *world) count(q question) *counter {
	c := w.counters
	c.tick++
	key := q.key()
	if have, ok := c.byKey[key]; ok {
		have.used = c.tick
		return have
	}
	if len(c.byKey) >= maxCounters {
		c.forget()
	}
	one := &counter{question: q, on: map[string]int{}, used: c.tick}
	if q.all {
		for _, list := range w.inNamespace {
			for _, p := range list {
				one.add(p, 1)
			}
		}
	}
	for _, ns := range q.namespaces {
		for _, p := range w.inNamespace[ns] {
			one.add(p, 1)
		}
	}
	c.byKey[key] = one
	for _, ns := range c.places(&q) {
		if c.in[ns] == nil {
			c.in[ns] = map[string]*counter{}
		}
		c.in[ns][key] = one
	}
	return one
}

// forget drops the half that was asked about longest ago.
func (c *counters) forget() {
	uses := make([]int64, 0, len(c.byKey))
	for _, one := range c.byKey {
		uses = append(uses, one.used)
	}
	slices.Sort(uses)
	middle := uses[len(uses)/2]
	for key, one := range c.byKey {
		if one.used > middle {
			continue
		}
		delete(c.byKey, key)
		for _, ns := range c.places(&one.question) {
			if delete(c.in[ns], key); len(c.in[ns]) == 0 {
				delete(c.in, ns)
			}
		}
	}
}
