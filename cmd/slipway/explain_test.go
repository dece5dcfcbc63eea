package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/state/statetest"
)

// TestExplain asks as a user does why a pod is where it is.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	for _, name := range []string{"n1", "n2"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: name == "n2"}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		if err := c.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
	if err := c.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := schedule.Explain(r.Context(), c, types.NamespacedName{Namespace: r.URL.Query().Get("project"), Name: r.URL.Query().Get("pod")})
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(server.ExplainAnswer{Text: e.String(), Explanation: e})
	}))
	t.Cleanup(s.Close)
	explain := func(args string) result {
		return runs(t, []string{"SLIPWAY_SERVER=" + s.URL, "NO_COLOR=1"}, program(t), append([]string{"explain"}, strings.Fields(args)...)...)
	}
	for _, args := range []string{"pod web -n shop", "pod/web -n shop"} {
		got := explain(args)
		for _, want := range []string{"pod shop/web, priority 0, is about to be put on n1", "n2     CheckNodeUnschedulable   node(s) were unschedulable", "LeastRequested×1", "n1     "} {
			if got.code != 0 || !strings.Contains(got.out, want) {
				t.Errorf("explain %s: want %q: %s", args, want, got)
			}
		}
	}
	var e schedule.Explanation
	if got := explain("pod web -n shop -o json"); json.Unmarshal([]byte(got.out), &e) != nil || len(e.Nodes) != 2 || len(e.Nodes[0].Predicates) == 0 || len(e.Nodes[0].Scores) == 0 || e.Nodes[1].Fits {
		t.Errorf("as JSON: %s", got)
	}
	for args, want := range map[string]string{"dc web -n shop": "only pods", "pod -n shop": "want", "pod web": "-n PROJECT", "pod none -n shop": "none"} {
		if got := explain(args); got.code == 0 || !strings.Contains(got.complaints, want) {
			t.Errorf("explain %s: want %q: %s", args, want, got)
		}
	}
}
