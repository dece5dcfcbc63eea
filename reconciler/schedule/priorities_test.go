package schedule

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sized is a node as in the tables of kube-scheduler's own tests.
func sizedNode(t testing.TB, name string, milli, memory int64, more string) *corev1.Node {
	n := node(t, name, more)
	n.Status.Allocatable = corev1.ResourceList{"cpu": *resource.NewMilliQuantity(milli, resource.DecimalSI), "memory": *resource.NewQuantity(memory, resource.BinarySI)}
	return n
}

func asking(milli, memory int64) string {
	return fmt.Sprintf("{spec: {containers: [{name: c, resources: {requests: {cpu: %dm, memory: '%d'}}}]}}", milli, memory)
}

// TestPriorities holds each priority against what kube-scheduler's own tests of that priority
// document: least_requested_test.go, balanced_allocation_test.go, selector_spreading_test.go and so
// on; their scores up to 10 (OpenShift 3) times ten.
func TestPriorities(t *testing.T) {
	t.Parallel()
	web := labelled("{app: web}")
	zoned := func(name, zone string) *corev1.Node {
		return sizedNode(t, name, 4000, 10000, "{metadata: {labels: {topology.kubernetes.io/zone: "+zone+"}}}")
	}
	for name, c := range map[string]struct {
		priority string
		world    all
		pod      string
		want     []int64
	}{
		"least: nothing asked, unlike nodes": {"LeastRequestedPriority", all{sizedNode(t, "a", 4000, 10000, ""), sizedNode(t, "b", 6000, 10000, "")}, asking(3000, 5000), []int64{37, 50}},
		"least: pods there":                  {"LeastRequestedPriority", all{sizedNode(t, "a", 10000, 20000, ""), sizedNode(t, "b", 10000, 20000, ""), pod(t, "x", "a", asking(6000, 0+1)), pod(t, "y", "b", asking(6000, 5000))}, asking(0+1, 1), []int64{69, 56}},
		"least: too much":                    {"LeastRequestedPriority", all{sizedNode(t, "a", 4000, 10000, "")}, asking(6000, 15000), []int64{0}},
		"most":                               {"MostRequestedPriority", all{sizedNode(t, "a", 4000, 10000, ""), sizedNode(t, "b", 6000, 10000, "")}, asking(3000, 5000), []int64{62, 50}},
		"balanced":                           {"BalancedResourceAllocation", all{sizedNode(t, "a", 4000, 10000, ""), sizedNode(t, "b", 6000, 10000, "")}, asking(3000, 5000), []int64{75, 100}},
		"balanced: too much":                 {"BalancedResourceAllocation", all{sizedNode(t, "a", 4000, 10000, "")}, asking(4000, 1), []int64{0}},
		"spread: no service":                 {"SelectorSpreadPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "a", web)}, web, []int64{100, 100}},
		"spread: two, one, none":             {"SelectorSpreadPriority", all{service(t), node(t, "a", ""), node(t, "b", ""), node(t, "c", ""), pod(t, "x", "a", web), pod(t, "y", "a", web), pod(t, "z", "b", web)}, web, []int64{0, 50, 100}},
		"spread: other project":              {"SelectorSpreadPriority", all{service(t), node(t, "a", ""), node(t, "b", ""), pod(t, "x", "a", "{metadata: {namespace: other, labels: {app: web}}}")}, web, []int64{100, 100}},
		"spread: DeploymentConfig":           {"SelectorSpreadPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "a", labelled("{deploymentconfig: web, deployment: web-1}"))}, labelled("{deploymentconfig: web, deployment: web-2}"), []int64{0, 100}},
		"spread: controller": {"SelectorSpreadPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "a", "{metadata: {ownerReferences: [{uid: u, name: r, kind: ReplicaSet, controller: true}]}}")},
			"{metadata: {ownerReferences: [{uid: u, name: r, kind: ReplicaSet, controller: true}]}}", []int64{0, 100}},
		"spread: services only":  {"ServiceSpreadingPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "a", labelled("{deploymentconfig: web}"))}, labelled("{deploymentconfig: web}"), []int64{100, 100}},
		"spread: zones":          {"SelectorSpreadPriority", all{service(t), zoned("a", "x"), zoned("b", "x"), zoned("c", "y"), pod(t, "x", "a", web)}, web, []int64{0, 33, 100}},
		"affinity of nodes":      {"NodeAffinityPriority", all{node(t, "a", "{metadata: {labels: {k: v}}}"), node(t, "b", ""), node(t, "c", "{metadata: {labels: {k: v, l: w}}}")}, "{spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 2, preference: {matchExpressions: [{key: k, operator: In, values: [v]}]}}, {weight: 6, preference: {matchExpressions: [{key: l, operator: Exists}]}}]}}}}", []int64{25, 0, 100}},
		"taints":                 {"TaintTolerationPriority", all{node(t, "a", ""), node(t, "b", "{spec: {taints: [{key: k, effect: PreferNoSchedule}]}}"), node(t, "c", "{spec: {taints: [{key: k, effect: PreferNoSchedule}, {key: l, effect: PreferNoSchedule}]}}")}, "", []int64{100, 50, 0}},
		"taints, tolerated":      {"TaintTolerationPriority", all{node(t, "a", "{spec: {taints: [{key: k, effect: PreferNoSchedule}]}}"), node(t, "b", "{spec: {taints: [{key: l, effect: PreferNoSchedule}]}}")}, "{spec: {tolerations: [{key: k, operator: Exists}]}}", []int64{100, 0}},
		"near":                   {"InterPodAffinityPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "b", web)}, preferring("podAffinity"), []int64{0, 100}},
		"apart":                  {"InterPodAffinityPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "b", web)}, preferring("podAntiAffinity"), []int64{100, 0}},
		"liked by one there":     {"InterPodAffinityPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "b", preferring("podAffinity"))}, web, []int64{0, 100}},
		"required by one there":  {"InterPodAffinityPriority", all{node(t, "a", ""), node(t, "b", ""), pod(t, "x", "b", "{spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: host, labelSelector: {matchLabels: {app: web}}}]}}}}")}, web, []int64{0, 100}},
		"spread over, if at all": {"EvenPodsSpreadPriority", all{node(t, "a", "{metadata: {labels: {zone: x}}}"), node(t, "b", "{metadata: {labels: {zone: y}}}"), node(t, "c", ""), pod(t, "x", "a", web)}, spreading("ScheduleAnyway", ""), []int64{0, 100, 0}},
		"image is there":         {"ImageLocalityPriority", all{node(t, "a", "{status: {images: [{names: ['busybox:latest'], sizeBytes: 1048576000}]}}"), node(t, "b", "")}, "", []int64{48, 0}},
		"equal":                  {"EqualPriority", all{node(t, "a", ""), node(t, "b", "")}, "", []int64{100, 100}},
		"label preferred":        {"Mine", all{schedulerConfig("priorities: [{name: Mine, weight: 1, argument: {labelPreference: {label: disk, presence: true}}}]", ""), node(t, "a", ""), node(t, "b", "{metadata: {labels: {disk: ssd}}}")}, "", []int64{0, 100}},
		"service over a label":   {"Zone", all{schedulerConfig("priorities: [{name: Zone, weight: 2, argument: {serviceAntiAffinity: {label: zone}}}]", ""), service(t), node(t, "a", "{metadata: {labels: {zone: x}}}"), node(t, "b", "{metadata: {labels: {zone: y}}}"), node(t, "c", ""), pod(t, "x", "a", web)}, web, []int64{0, 100, 0}},
	} {
		w := worldOf(c.world...)
		task := w.task(pod(t, "p", "", c.pod))
		score := priorities[c.priority]
		for _, p := range w.policy.priorities {
			if p.name == c.priority {
				score = p.score
			}
		}
		got := make([]int64, len(w.order))
		if score(task, w.order, got); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func preferring(kind string) string {
	return "{metadata: {labels: {app: web}}, spec: {affinity: {" + kind + ": {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {topologyKey: host, labelSelector: {matchLabels: {app: web}}}}]}}}}"
}

// TestNoNodeIsEverOvercommitted books and removes pods at random, some of whose writes fail, and
// compares what the world has added up with the sums made anew.
func TestNoNodeIsEverOvercommitted(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := worldOf(node(t, "a", ""), node(t, "b", "{status: {allocatable: {pods: '40', cpu: '3'}}}"), node(t, "c", "{status: {allocatable: {pods: '40', example.com/gpu: '2'}}}"))
		var s scratch
		there := map[string]*corev1.Pod{}
		f := w.followers[0]
		for i := range 400 {
			switch r.IntN(4) {
			case 0, 1:
				name := "p" + strconv.Itoa(i)
				p := pod(t, name, "", fmt.Sprintf("{metadata: {labels: {app: a%d}}, spec: {containers: [{name: c, resources: {requests: {cpu: %dm, memory: %dMi, example.com/gpu: '%d'}}, ports: [{containerPort: 1, hostPort: %d}]}]}}",
					r.IntN(3), r.IntN(900), r.IntN(300), r.IntN(8)/7, 1+r.IntN(6)))
				p.ResourceVersion = strconv.Itoa(i + 2)
				task := w.task(p)
				d := w.decide(task, &s)
				if d.host == nil {
					continue
				}
				w.book(task.self, d.host.name)
				if r.IntN(5) == 0 {
					w.unbook(p.UID)
					continue
				}
				p.Spec.NodeName = d.host.name
				there[name] = p
				if r.IntN(2) == 0 {
					w.confirm(p.UID, int64(i+2))
					f.Saw(watch.Modified, p)
				} else {
					f.Saw(watch.Modified, p)
					w.confirm(p.UID, int64(i+2))
				}
			case 2:
				for name, p := range there {
					f.Saw(watch.Deleted, p)
					delete(there, name)
					break
				}
			case 3:
				var list []client.Object
				for _, p := range there {
					list = append(list, p)
				}
				f.Lost()
				f.Listed(list, strconv.Itoa(i+2))
			}
			holds(t, w, there)
		}
	}
}

func holds(t *testing.T, w *world, there map[string]*corev1.Pod) {
	t.Helper()
	sums, ports := map[string]*amounts{}, map[string]bool{}
	for _, p := range there {
		if sums[p.Spec.NodeName] == nil {
			sums[p.Spec.NodeName] = &amounts{}
		}
		a := sums[p.Spec.NodeName]
		a.add(requests(p), 1)
		a.add(amountsOf(corev1.ResourceList{"pods": resource.MustParse("1")}), 1)
		for _, port := range hostPorts(p) {
			id := p.Spec.NodeName + strconv.Itoa(int(port.number))
			if ports[id] {
				t.Fatalf("port %d is given twice on %s", port.number, p.Spec.NodeName)
			}
			ports[id] = true
		}
	}
	for _, h := range w.order {
		a := sums[h.name]
		if a == nil {
			a = &amounts{}
		}
		if a.cpu > h.allocatable.cpu || a.memory > h.allocatable.memory || a.others["example.com/gpu"] > h.allocatable.others["example.com/gpu"] || a.others["pods"] > h.allocatable.others["pods"] {
			t.Fatalf("%s is over-committed: %+v of %+v", h.name, a, h.allocatable)
		}
		if a.cpu != h.used.cpu || a.memory != h.used.memory || int(a.others["pods"]) != len(h.pods) {
			t.Fatalf("%s has %+v, and counts %+v", h.name, a, h.used)
		}
	}
}
