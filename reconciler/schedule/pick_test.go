package schedule

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func node(name string, change ...func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"disk": "ssd", "host": name}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi"), "pods": resource.MustParse("3")}
	for _, f := range change {
		f(&n)
	}
	return n
}

func pod(name, on, cpu string, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "c"}}}}
	if cpu != "" {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func of(config string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{"deploymentconfig": config} }
}

func hostPort(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: n}}
	}
}

func initCPU(cpu string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}}}}
	}
}

func wants(op corev1.NodeSelectorOperator, key string, values ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}}}}}
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	notReady := func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	tainted := func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "only", Value: "db", Effect: corev1.TaintEffectNoSchedule}}
	}
	ended := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	two := []corev1.Node{node("a"), node("b")}
	for name, c := range map[string]struct {
		pod   corev1.Pod
		nodes []corev1.Node
		pods  []corev1.Pod
		want  string
		why   string
	}{
		"no nodes":              {pod: pod("p", "", ""), why: "no nodes are known"},
		"first by name":         {pod: pod("p", "", ""), nodes: []corev1.Node{node("b"), node("a")}, want: "a"},
		"not ready":             {pod: pod("p", "", ""), nodes: []corev1.Node{node("a", notReady), node("b")}, want: "b"},
		"all bad":               {pod: pod("p", "", ""), nodes: []corev1.Node{node("a", notReady), node("b", cordoned)}, why: "0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable."},
		"taint":                 {pod: pod("p", "", ""), nodes: []corev1.Node{node("a", tainted)}, why: "0/1 nodes are available: 1 node(s) had untolerated taint {only: db}."},
		"toleration":            {pod: pod("p", "", "", func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "only", Value: "db"}} }), nodes: []corev1.Node{node("a", tainted)}, want: "a"},
		"selector":              {pod: pod("p", "", "", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"host": "b"} }), nodes: two, want: "b"},
		"affinity":              {pod: pod("p", "", "", wants(corev1.NodeSelectorOpNotIn, "host", "a")), nodes: two, want: "b"},
		"affinity unreadable":   {pod: pod("p", "", "", wants("Near", "host", "a")), nodes: two, why: "0/2 nodes are available: 2 node(s) didn't match the pod's node selector or affinity."},
		"most room":             {pod: pod("p", "", "1"), nodes: two, pods: []corev1.Pod{pod("x", "a", "500m")}, want: "b"},
		"too little room":       {pod: pod("p", "", "2"), nodes: two, pods: []corev1.Pod{pod("x", "a", "1"), pod("y", "b", "1m")}, why: "0/2 nodes are available: 2 Insufficient cpu."},
		"ended pods are free":   {pod: pod("p", "", "2"), nodes: two[:1], pods: []corev1.Pod{pod("x", "a", "2", ended)}, want: "a"},
		"itself does not count": {pod: pod("p", "", "2"), nodes: two[:1], pods: []corev1.Pod{pod("p", "a", "2")}, want: "a"},
		"init containers":       {pod: pod("p", "", "1", initCPU("3")), nodes: two[:1], why: "0/1 nodes are available: 1 Insufficient cpu."},
		"init runs before":      {pod: pod("p", "", "1", initCPU("1")), nodes: two[:1], want: "a"},
		"unknown resource": {pod: pod("p", "", "", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}
		}), nodes: two[:1], why: "0/1 nodes are available: 1 Insufficient example.com/gpu."},
		"siblings apart":     {pod: pod("p", "", "", of("web")), nodes: two, pods: []corev1.Pod{pod("x", "a", "", of("web")), pod("y", "b", "100m", of("db"))}, want: "b"},
		"host port taken":    {pod: pod("p", "", "", hostPort(80)), nodes: two, pods: []corev1.Pod{pod("x", "a", "", hostPort(80))}, want: "b"},
		"other port is free": {pod: pod("p", "", "", hostPort(81)), nodes: two[:1], pods: []corev1.Pod{pod("x", "a", "", hostPort(80))}, want: "a"},
		"as many as may":     {pod: pod("p", "", ""), nodes: two[:1], pods: []corev1.Pod{pod("x", "a", ""), pod("y", "a", ""), pod("z", "a", "")}, why: "0/1 nodes are available: 1 Too many pods."},
	} {
		got, reasons := Pick(&c.pod, c.nodes, c.pods)
		if got != c.want || got == "" && reasons.String(len(c.nodes)) != c.why {
			t.Errorf("%s: got %q, %s; want %q, %s", name, got, reasons.String(len(c.nodes)), c.want, c.why)
		}
	}
}

func TestPodsSpread(t *testing.T) {
	t.Parallel()
	nodes := []corev1.Node{node("a"), node("b"), node("c")}
	var pods []corev1.Pod
	count := map[string]int{}
	for i := range 9 {
		p := pod(string(rune('p'+i)), "", "100m", of("web"))
		on, reasons := Pick(&p, nodes, pods)
		if on == "" {
			t.Fatal(reasons)
		}
		p.Spec.NodeName = on
		pods = append(pods, p)
		count[on]++
	}
	if count["a"] != 3 || count["b"] != 3 || count["c"] != 3 {
		t.Errorf("got %v", count)
	}
}
