package schedule

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// term is one term of a pod's affinity or anti-affinity to pods.
type term struct {
	question
	topology string
	weight   int64
}

// termOf reads a term of a pod in a namespace. A selector that cannot be read matches nothing; the
// validation lets none through.
func (w *world) termOf(t *corev1.PodAffinityTerm, namespace string, weight int64) term {
	out := term{topology: t.TopologyKey, weight: weight}
	out.selectors = []labels.Selector{selectorOf(t.LabelSelector)}
	switch {
	case t.NamespaceSelector != nil && len(t.NamespaceSelector.MatchLabels)+len(t.NamespaceSelector.MatchExpressions) == 0:
		out.all = true
	case t.NamespaceSelector != nil:
		out.namespaces = w.namespacesOf(selectorOf(t.NamespaceSelector))
		fallthrough
	case len(t.Namespaces) > 0:
		out.namespaces = append(out.namespaces, t.Namespaces...)
		slices.Sort(out.namespaces)
		out.namespaces = slices.Compact(out.namespaces)
	default:
		out.namespaces = []string{namespace}
	}
	return out
}

func selectorOf(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return out
}

// The kinds of terms that pods on nodes hold against those that come.
type holdKind byte

const (
	holdRequiredAffinity holdKind = iota
	holdAffinity
	holdRequiredAnti
	holdAnti
)

// heldTerm is a term of a placed pod.
type heldTerm struct {
	term
	kind holdKind
	key  string
}

// held is a term and the nodes on which pods hold it.
type held struct {
	heldTerm
	on map[string]int
}

func (w *world) termsOf(a *corev1.Affinity, namespace string) []heldTerm {
	if a == nil {
		return nil
	}
	var out []heldTerm
	add := func(kind holdKind, t *corev1.PodAffinityTerm, weight int64) {
		h := heldTerm{term: w.termOf(t, namespace, weight), kind: kind}
		h.key = strings.Join([]string{strconv.Itoa(int(kind)), strconv.FormatInt(weight, 10), h.topology, h.question.key()}, "/")
		out = append(out, h)
	}
	if p := a.PodAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			add(holdRequiredAffinity, &p.RequiredDuringSchedulingIgnoredDuringExecution[i], 0)
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &p.PreferredDuringSchedulingIgnoredDuringExecution[i]
			add(holdAffinity, &t.PodAffinityTerm, int64(t.Weight))
		}
	}
	if p := a.PodAntiAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			add(holdRequiredAnti, &p.RequiredDuringSchedulingIgnoredDuringExecution[i], 0)
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &p.PreferredDuringSchedulingIgnoredDuringExecution[i]
			add(holdAnti, &t.PodAffinityTerm, int64(t.Weight))
		}
	}
	return out
}

func (w *world) hold(p *placed, n int) {
	for _, t := range p.terms {
		h := w.held[t.key]
		if h == nil {
			h = &held{heldTerm: t, on: map[string]int{}}
			w.held[t.key] = h
		}
		if h.on[p.node] += n; h.on[p.node] == 0 {
			delete(h.on, p.node)
		}
		if len(h.on) == 0 {
			delete(w.held, t.key)
		}
	}
}

// relabel reads the terms of placed pods again after projects have changed.
func (w *world) relabel() {
	if !w.relabelled {
		return
	}
	w.relabelled = false
	for _, p := range w.pods {
		if len(p.terms) > 0 {
			w.hold(p, -1)
			p.terms = w.termsOf(p.affinity, p.key.Namespace)
			w.hold(p, 1)
		}
	}
}

// domains adds up a number per node over the values of a label.
func (w *world) domains(on map[string]int, label string) map[string]int {
	out := map[string]int{}
	for name, n := range on {
		if h := w.hosts[name]; h != nil && h.node != nil {
			if value, ok := h.node.Labels[label]; ok {
				out[value] += n
			}
		}
	}
	return out
}

// company is what a pod and the pods on nodes ask of each other.
type company struct {
	// with and without are the required terms: the values of their labels that have such pods.
	with, without []domain
	// lonely: no pod anywhere is what with asks for, but the pod itself is.
	lonely bool
	// barred are the values of labels that pods on nodes keep the pod from.
	barred []domain
	// likes are the preferences of both sides, as a number per value of a label.
	likes map[string]map[string]int64
}

type domain struct {
	label  string
	values map[string]int
}

func (w *world) companyOf(pod *corev1.Pod, hardWeight int64) company {
	var c company
	set := labels.Set(pod.Labels)
	w.askedBy(pod, &c)
	for _, key := range slices.Sorted(maps.Keys(w.held)) {
		h := w.held[key]
		if !h.matches(pod.Namespace, "", set) {
			continue
		}
		switch h.kind {
		case holdRequiredAnti:
			c.barred = append(c.barred, domain{h.topology, w.domains(h.on, h.topology)})
		case holdRequiredAffinity:
			c.like(h.topology, w.domains(h.on, h.topology), hardWeight)
		case holdAffinity:
			c.like(h.topology, w.domains(h.on, h.topology), h.weight)
		case holdAnti:
			c.like(h.topology, w.domains(h.on, h.topology), -h.weight)
		}
	}
	return c
}

// askedBy reads the pod's own terms.
func (w *world) askedBy(pod *corev1.Pod, c *company) {
	terms := w.termsOf(podAffinity(pod), pod.Namespace)
	var required []heldTerm
	for _, t := range terms {
		switch t.kind {
		case holdRequiredAffinity:
			required = append(required, t)
		case holdRequiredAnti:
			c.without = append(c.without, domain{t.topology, w.domains(w.count(t.question).on, t.topology)})
		case holdAffinity:
			c.like(t.topology, w.domains(w.count(t.question).on, t.topology), t.weight)
		case holdAnti:
			c.like(t.topology, w.domains(w.count(t.question).on, t.topology), -t.weight)
		}
	}
	if len(required) == 0 {
		return
	}
	// As in Kubernetes, only pods that match every required term count for any of them.
	all := w.together(required)
	c.lonely = len(all) == 0
	for _, t := range required {
		c.lonely = c.lonely && t.matches(pod.Namespace, "", labels.Set(pod.Labels))
		c.with = append(c.with, domain{t.topology, w.domains(all, t.topology)})
	}
}

// together counts the pods of each node that match every term.
func (w *world) together(terms []heldTerm) map[string]int {
	q := question{all: terms[0].all, namespaces: terms[0].namespaces}
	for _, t := range terms {
		q.selectors = append(q.selectors, t.selectors...)
		switch {
		case t.all:
		case q.all:
			q.all, q.namespaces = false, t.namespaces
		default:
			q.namespaces = slices.DeleteFunc(slices.Clone(q.namespaces), func(ns string) bool { return !slices.Contains(t.namespaces, ns) })
		}
	}
	return w.count(q).on
}

func (c *company) like(label string, values map[string]int, weight int64) {
	if weight == 0 || len(values) == 0 {
		return
	}
	if c.likes == nil {
		c.likes = map[string]map[string]int64{}
	}
	if c.likes[label] == nil {
		c.likes[label] = map[string]int64{}
	}
	for value, n := range values {
		c.likes[label][value] += weight * int64(n)
	}
}

func (d domain) has(h *host) bool {
	value, ok := h.node.Labels[d.label]
	return ok && d.values[value] > 0
}

// near says that a node is near all that the pod asks to be near.
func (c *company) near(h *host) bool {
	for _, d := range c.with {
		_, labelled := h.node.Labels[d.label]
		if !labelled || !c.lonely && !d.has(h) {
			return false
		}
	}
	return true
}

// apart says why a node is too near to somebody; empty: it is not.
func (c *company) apart(h *host) string {
	for _, d := range c.without {
		if d.has(h) {
			return "node(s) didn't match pod anti-affinity rules"
		}
	}
	for _, d := range c.barred {
		if d.has(h) {
			return "node(s) didn't satisfy existing pods anti-affinity rules"
		}
	}
	return ""
}

// liked is how much the preferences speak for a node.
func (c *company) liked(h *host) int64 {
	var sum int64
	for label, values := range c.likes {
		if value, ok := h.node.Labels[label]; ok {
			sum += values[value]
		}
	}
	return sum
}
