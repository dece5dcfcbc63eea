package schedule

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Explanation is what the scheduler makes of a pod, for every node.
type Explanation struct {
	Pod loop.Key `json:"pod"`
	// Bound is the node that the pod is on; Choice the one that it would be put on now, as if it were
	// on none; empty: none.
	Bound  string `json:"bound,omitempty"`
	Choice string `json:"choice,omitempty"`
	// Priority orders the queue.
	Priority int32 `json:"priority"`
	// NodeSelector is the pod's, merged with its project's or the cluster's.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Message is why there is no choice.
	Message string `json:"message,omitempty"`
	// Nodes are all, by name.
	Nodes []NodeExplanation `json:"nodes"`
}

// NodeExplanation is what speaks for and against a node.
type NodeExplanation struct {
	Name string `json:"name"`
	Fits bool   `json:"fits"`
	// Predicates are all of the policy; an empty list of reasons: met.
	Predicates []PredicateExplanation `json:"predicates,omitempty"`
	// Scores are all of the policy, where the node fits; Total is their sum, each times its weight.
	Scores []ScoreExplanation `json:"scores,omitempty"`
	Total  int64              `json:"total"`
}

// PredicateExplanation is the answer of one predicate.
type PredicateExplanation struct {
	Name    string   `json:"name"`
	Reasons []string `json:"reasons,omitempty"`
}

// ScoreExplanation is the answer of one priority, from 0 to 100.
type ScoreExplanation struct {
	Name   string `json:"name"`
	Weight int64  `json:"weight"`
	Score  int64  `json:"score"`
}

// Explain reads the world as it is and decides about one pod, without consequences. The error is
// NotFound where there is no such pod.
func Explain(ctx context.Context, c client.Client, key loop.Key) (*Explanation, error) {
	var pod corev1.Pod
	if err := c.Get(ctx, key, &pod); err != nil {
		return nil, err
	}
	w := newWorld()
	for _, f := range w.followers {
		list := f.list.DeepCopyObject().(client.ObjectList)
		if err := c.List(ctx, list); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.name, err)
		}
		var objects []client.Object
		if err := meta.EachListItem(list, func(o runtime.Object) error {
			objects = append(objects, o.(client.Object))
			return nil
		}); err != nil {
			return nil, err
		}
		f.Listed(objects, list.GetResourceVersion())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.explain(&pod), nil
}

func (w *world) explain(pod *corev1.Pod) *Explanation {
	e := &Explanation{Pod: keyOf(pod), Bound: pod.Spec.NodeName, Priority: w.priority(pod)}
	if p := w.pods[pod.UID]; p != nil {
		w.remove(p)
	}
	free := pod.DeepCopy()
	free.Spec.NodeName = ""
	t := w.task(free)
	e.NodeSelector = t.selector
	var s scratch
	d := w.decide(t, &s)
	if e.Message = d.why; d.host != nil {
		e.Choice = d.host.name
	}
	at := map[*host]int{}
	for i, h := range s.fit {
		at[h] = i
	}
	scores := w.scores(t, s.fit)
	for _, h := range w.order {
		n := NodeExplanation{Name: h.name}
		if t.hopeless != "" {
			n.Predicates = []PredicateExplanation{{"Pod", []string{t.hopeless}}}
			e.Nodes = append(e.Nodes, n)
			continue
		}
		for _, p := range w.policy.predicates {
			// What wakes a pod again may differ within a predicate; its name is said once.
			if last := len(n.Predicates) - 1; last >= 0 && n.Predicates[last].Name == p.name {
				n.Predicates[last].Reasons = p.check(t, h, n.Predicates[last].Reasons)
				continue
			}
			n.Predicates = append(n.Predicates, PredicateExplanation{p.name, p.check(t, h, nil)})
		}
		if i, fits := at[h]; fits {
			n.Fits = true
			for j, p := range w.policy.priorities {
				n.Scores = append(n.Scores, ScoreExplanation{p.name, p.weight, scores[j][i]})
				n.Total += p.weight * scores[j][i]
			}
		}
		e.Nodes = append(e.Nodes, n)
	}
	return e
}

// scores are those of each priority for each node that fits.
func (w *world) scores(t *task, fit []*host) [][]int64 {
	out := make([][]int64, len(w.policy.priorities))
	for i, p := range w.policy.priorities {
		out[i] = make([]int64, len(fit))
		if len(fit) > 0 {
			p.score(t, fit, out[i])
		}
	}
	return out
}

// String is the explanation for people: the outcome, what refuses each node, and the scores of the
// others.
func (e *Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pod %s, priority %d", e.Pod, e.Priority)
	switch {
	case e.Bound != "" && e.Bound == e.Choice:
		fmt.Fprintf(&b, ", is on %s, and would be put there again\n", e.Bound)
	case e.Bound != "" && e.Choice != "":
		fmt.Fprintf(&b, ", is on %s; now it would be put on %s\n", e.Bound, e.Choice)
	case e.Bound != "":
		fmt.Fprintf(&b, ", is on %s; now it would fit nowhere: %s\n", e.Bound, e.Message)
	case e.Choice != "":
		fmt.Fprintf(&b, ", is about to be put on %s\n", e.Choice)
	default:
		fmt.Fprintf(&b, " fits nowhere: %s\n", e.Message)
	}
	if len(e.NodeSelector) > 0 {
		fmt.Fprintf(&b, "node selector, with the project's: %v\n", e.NodeSelector)
	}
	e.refused(&b)
	e.scored(&b)
	return b.String()
}

func (e *Explanation) refused(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	first := true
	for _, n := range e.Nodes {
		for _, p := range n.Predicates {
			for _, why := range p.Reasons {
				if first {
					fmt.Fprint(t, "\nNODE\tPREDICATE\tREFUSES BECAUSE\n")
					first = false
				}
				fmt.Fprintf(t, "%s\t%s\t%s\n", n.Name, p.Name, why)
			}
		}
	}
	t.Flush()
}

func (e *Explanation) scored(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	first := true
	for _, n := range e.Nodes {
		if !n.Fits {
			continue
		}
		if first {
			fmt.Fprint(t, "\nNODE\tTOTAL")
			for _, s := range n.Scores {
				fmt.Fprintf(t, "\t%s×%d", strings.TrimSuffix(s.Name, "Priority"), s.Weight)
			}
			fmt.Fprintln(t)
			first = false
		}
		fmt.Fprintf(t, "%s\t%d", n.Name, n.Total)
		for _, s := range n.Scores {
			fmt.Fprintf(t, "\t%d", s.Score)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}
