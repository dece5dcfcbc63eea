package runtime

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// aNode is one that is ready or not, and said to which pods nothing leads there; "-": it never
// says so.
func aNode(name string, ready corev1.ConditionStatus, answered string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	if answered != "-" {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: api.HandOver, Status: corev1.ConditionTrue, Message: answered})
	}
	return n
}

func TestHolders(t *testing.T) {
	t.Parallel()
	left := map[string]uint64{"web": 7}
	for name, c := range map[string]struct {
		departure departure
		want      string
	}{
		"a pod of no service":                 {departure{Nodes: []corev1.Node{aNode("b", "True", "")}}, ""},
		"Endpoints still name it":             {departure{Named: []string{"web"}}, "Endpoints web"},
		"this node's rules are late":          {departure{Left: left, Behind: []string{"web"}}, "this node's rules for Service web"},
		"alone":                               {departure{Left: left, Nodes: []corev1.Node{aNode("a", "True", "")}}, ""},
		"another node has not answered":       {departure{Left: left, Nodes: []corev1.Node{aNode("a", "True", ""), aNode("b", "True", "")}}, "node b"},
		"it has":                              {departure{Left: left, Nodes: []corev1.Node{aNode("b", "True", "u1")}}, ""},
		"it has, of several":                  {departure{Left: left, Nodes: []corev1.Node{aNode("b", "True", "u0,u1,u2")}}, ""},
		"it has, of another":                  {departure{Left: left, Nodes: []corev1.Node{aNode("b", "True", "u11")}}, "node b"},
		"one that is not ready does not":      {departure{Left: left, Nodes: []corev1.Node{aNode("b", "False", "")}}, ""},
		"nor one that nothing is heard of":    {departure{Left: left, Nodes: []corev1.Node{aNode("b", "Unknown", "")}}, ""},
		"nor one that never says such things": {departure{Left: left, Nodes: []corev1.Node{aNode("b", "True", "-")}}, ""},
		"all together": {departure{Left: left, Named: []string{"old"}, Behind: []string{"web"}, Nodes: []corev1.Node{aNode("b", "True", "")}},
			"Endpoints old, this node's rules for Service web, node b"},
	} {
		c.departure.UID, c.departure.Own = "u1", "a"
		if got := strings.Join(c.departure.holders(), ", "); got != c.want {
			t.Errorf("%s: held by %q, want %q", name, got, c.want)
		}
	}
}

func TestAskOf(t *testing.T) {
	t.Parallel()
	pod := func(status corev1.ConditionStatus, message string) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: api.HandOver, Status: status, Message: message}}}}
	}
	for text, want := range map[string]map[string]uint64{
		"web@12": {"web": 12}, "admin@7,web@12": {"web": 12, "admin": 7},
		"": nil, "web": nil, "web@": nil, "@7": nil, "web@-1": nil, "web@12,": nil, strings.Repeat("web@12,", longestQuestion/7) + "web@12": nil,
	} {
		got, asks := askOf(pod(corev1.ConditionFalse, text))
		if asks != (want != nil) || !maps.Equal(got, want) {
			t.Errorf("%.30q asks %v, %t, want %v", text, got, asks, want)
		}
		if want != nil && question(want) != text {
			t.Errorf("%v is asked as %q, want %q", want, question(want), text)
		}
	}
	if _, asks := askOf(pod(corev1.ConditionTrue, "web@12")); asks {
		t.Error("what was answered is asked still")
	}
	if _, asks := askOf(&corev1.Pod{}); asks {
		t.Error("a pod that is not to go asks")
	}
}

func FuzzAskOf(f *testing.F) {
	f.Add("admin@7,web@12")
	f.Fuzz(func(t *testing.T, text string) {
		left, asks := askOf(&corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: api.HandOver, Status: corev1.ConditionFalse, Message: text}}}})
		if again, still := askOf(&corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: api.HandOver, Status: corev1.ConditionFalse, Message: question(left)}}}}); asks && (!still || fmt.Sprint(again) != fmt.Sprint(left)) {
			t.Errorf("%q: %v, and then %v", text, left, again)
		}
	})
}
