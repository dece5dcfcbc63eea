package schedule

import (
	"strings"
	"testing"
)

func TestExplanationNamesEveryNodePredicateAndScore(t *testing.T) {
	t.Parallel()
	there := pod(t, "p", "a", cpu("1"))
	w := worldOf(there, pod(t, "x", "b", cpu("2")), node(t, "a", ""), node(t, "b", ""), node(t, "c", "{spec: {unschedulable: true}, status: {allocatable: {cpu: '0'}}}"))
	e := w.explain(there)
	if e.Bound != "a" || e.Choice != "a" || e.Message != "" || len(e.Nodes) != 3 {
		t.Fatalf("got %+v", e)
	}
	for _, n := range e.Nodes {
		if len(n.Predicates) != len(w.policy.predicates)-1 || n.Fits != (n.Name == "a") || n.Fits != (len(n.Scores) == len(w.policy.priorities)) {
			t.Errorf("got %+v", n)
		}
	}
	text := e.String()
	for _, want := range []string{
		"pod shop/p, priority 0, is on a, and would be put there again\n", "b      PodFitsResources         Insufficient cpu\n",
		"c      CheckNodeUnschedulable   node(s) were unschedulable\nc      PodFitsResources         Insufficient cpu\n", "SelectorSpread×1", "\na      ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	waits := worldOf(node(t, "a", "")).explain(pod(t, "p", "", "{spec: {priorityClassName: none}}"))
	if got := waits.String(); !strings.Contains(got, "fits nowhere: 0/1 nodes are available: no PriorityClass with name none was found.") {
		t.Error(got)
	}
}
