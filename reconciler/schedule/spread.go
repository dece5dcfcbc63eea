package schedule

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// spread is one topologySpreadConstraint of a pod, with the pods that count for it added up over the
// values of its label on the nodes that take part.
type spread struct {
	label   string
	skew    int
	self    int
	minimum int
	values  map[string]int
}

// spreadsOf reads the constraints that forbid (DoNotSchedule) or those that prefer.
func (w *world) spreadsOf(t *task, forbidding bool) []spread {
	var out []spread
	var keys []string
	for i := range t.pod.Spec.TopologySpreadConstraints {
		if c := &t.pod.Spec.TopologySpreadConstraints[i]; (c.WhenUnsatisfiable == corev1.DoNotSchedule) == forbidding {
			keys = append(keys, c.TopologyKey)
		}
	}
	for i := range t.pod.Spec.TopologySpreadConstraints {
		c := &t.pod.Spec.TopologySpreadConstraints[i]
		if (c.WhenUnsatisfiable == corev1.DoNotSchedule) == forbidding {
			out = append(out, w.spreadOf(t, c, keys))
		}
	}
	return out
}

func (w *world) spreadOf(t *task, c *corev1.TopologySpreadConstraint, keys []string) spread {
	selector := selectorOf(c.LabelSelector)
	for _, k := range c.MatchLabelKeys {
		if value, ok := t.pod.Labels[k]; ok {
			only, _ := labels.SelectorFromSet(labels.Set{k: value}).Requirements()
			selector = selector.Add(only...)
		}
	}
	s := spread{label: c.TopologyKey, skew: int(c.MaxSkew), values: map[string]int{}}
	if selector.Matches(labels.Set(t.pod.Labels)) {
		s.self = 1
	}
	on := w.count(question{namespaces: []string{t.pod.Namespace}, selectors: []labels.Selector{selector}, staying: true}).on
	affinity := c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor
	taints := c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
	for _, h := range w.order {
		if !hasAll(h.node.Labels, keys) || affinity && !t.selects(h) || taints && t.untolerated(h) != nil {
			continue
		}
		s.values[h.node.Labels[c.TopologyKey]] += on[h.name]
	}
	s.minimum = math.MaxInt
	for _, n := range s.values {
		s.minimum = min(s.minimum, n)
	}
	if c.MinDomains != nil && len(s.values) < int(*c.MinDomains) {
		s.minimum = 0
	}
	return s
}

func hasAll(set map[string]string, keys []string) bool {
	for _, k := range keys {
		if _, ok := set[k]; !ok {
			return false
		}
	}
	return true
}

// refuses says why a node would upset the spread; empty: it would not.
func (s *spread) refuses(h *host) string {
	value, ok := h.node.Labels[s.label]
	n, takesPart := s.values[value]
	switch {
	case !ok:
		return "node(s) didn't match pod topology spread constraints (missing required label)"
	case !takesPart:
		// Nodes that do not take part are refused for what keeps them from it.
		return ""
	case n+s.self-s.minimum > s.skew:
		return "node(s) didn't match pod topology spread constraints"
	}
	return ""
}

// weighed is how many pods speak against a node: more where the label has more values, so that
// constraints over many small domains count as much as those over few large ones.
func (s *spread) weighed(h *host) float64 {
	return float64(s.values[h.node.Labels[s.label]])*math.Log(float64(len(s.values)+2)) + float64(s.skew-1)
}

// siblings are the pods that a pod is spread with: those of its services, of its DeploymentConfig
// whatever the version, and of its controller.
func (w *world) siblings(pod *corev1.Pod, servicesOnly bool) map[string]int {
	q := question{namespaces: []string{pod.Namespace}, selectors: w.services.selecting(pod), any: true, staying: true}
	if servicesOnly {
		q.selectors = q.selectors[:min(len(q.selectors), 1)]
	} else {
		const config = "deploymentconfig"
		if name := pod.Labels[config]; name != "" {
			q.selectors = append(q.selectors, labels.SelectorFromSet(labels.Set{config: name}))
		}
		if o := metav1.GetControllerOf(pod); o != nil {
			q.owner = o.UID
		}
	}
	if len(q.selectors) == 0 && q.owner == "" {
		return nil
	}
	return w.count(q).on
}
