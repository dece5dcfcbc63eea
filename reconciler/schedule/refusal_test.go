package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// counting adds a predicate that counts how often it is asked.
func counting(w *world) *int {
	n := 0
	w.policy.predicates = append([]predicate{{"Counting", whyPod, func(_ *task, _ *host, whys []string) []string {
		n++
		return whys
	}}}, w.policy.predicates...)
	return &n
}

func owned(p *corev1.Pod, by string) *corev1.Pod {
	p.OwnerReferences = []metav1.OwnerReference{{UID: types.UID(by), Name: by, Kind: "ReplicaSet", Controller: new(true)}}
	return p
}

// drain decides about every pod whose turn it is, and books those that fit.
func (w *world) drain(version func() int64) {
	var s scratch
	for p := w.queue.next(); p != nil; p = w.queue.next() {
		d, t := w.judge(p, &s)
		if d.host == nil {
			w.queue.wait(p, d.cause, time.Time{})
			continue
		}
		w.book(t.self, d.host.name)
		w.confirm(p.pod.UID, version())
	}
}

// TestPodsThatAreAlikeCostOneDecision: thousands that do not fit must not keep the scheduler busy
// whenever one more fits.
func TestPodsThatAreAlikeCostOneDecision(t *testing.T) {
	t.Parallel()
	w := worldOf(node(t, "a", ""), pod(t, "x", "a", cpu("2")))
	asked := counting(w)
	const many = 1000
	for i := range many {
		p := owned(pod(t, fmt.Sprintf("p%d", i), "", cpu("2")), "web")
		w.followers[0].Saw(watch.Added, p)
	}
	version := int64(1)
	next := func() int64 { version++; return version }
	w.drain(next)
	if *asked != 1 || len(w.queue.waiting) != many {
		t.Fatalf("%d decisions for %d pods, of which %d wait", *asked, many, len(w.queue.waiting))
	}
	w.followers[0].Saw(watch.Deleted, pod(t, "x", "a", cpu("2")))
	w.drain(next)
	if *asked > 3 || len(w.queue.waiting) != many-1 {
		t.Fatalf("%d decisions after room for one was made; %d wait", *asked, len(w.queue.waiting))
	}
	// One of the same controller that asks for something else is looked at by itself.
	w.followers[0].Saw(watch.Added, owned(pod(t, "other", "", ""), "web"))
	w.drain(next)
	if w.pods["other"] == nil {
		t.Error("a pod that fits was taken for those that do not")
	}
}

// TestWorseWakesNobody: a node that comes and goes wakes those that wait when it comes, not when it goes.
func TestWorseWakesNobody(t *testing.T) {
	t.Parallel()
	const ready, silent = "{status: {conditions: [{type: Ready, status: 'True'}]}}", "{status: {conditions: [{type: Ready, status: Unknown}]}}"
	for name, c := range map[string]struct {
		before, after string
		wakes         bool
	}{
		"heartbeat":        {ready, ready, false},
		"silent":           {ready, silent, false},
		"returns":          {silent, ready, true},
		"cordoned":         {ready, "{spec: {unschedulable: true}}", false},
		"no longer":        {"{spec: {unschedulable: true}}", ready, true},
		"tainted":          {ready, "{spec: {taints: [{key: k, effect: NoSchedule}]}}", false},
		"taint goes":       {"{spec: {taints: [{key: k, effect: NoSchedule}]}}", ready, true},
		"one for another":  {"{spec: {taints: [{key: k, effect: NoSchedule}]}}", "{spec: {taints: [{key: l, effect: NoSchedule}]}}", true},
		"pressure":         {ready, "{status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True'}]}}", false},
		"pressure is over": {"{status: {conditions: [{type: Ready, status: 'True'}, {type: DiskPressure, status: 'True'}]}}", ready, true},
		"labels":           {ready, "{metadata: {labels: {disk: ssd}}}", true},
	} {
		w := worldOf(node(t, "a", c.before))
		p := pod(t, "p", "", "")
		w.followers[0].Saw(watch.Added, p)
		w.queue.wait(w.queue.next(), whyNode, time.Time{})
		w.followers[1].Saw(watch.Modified, node(t, "a", c.after))
		if woken := len(w.queue.heap) == 1; woken != c.wakes {
			t.Errorf("%s: woken %t", name, woken)
		}
		if name != "tainted" {
			continue
		}
		// Where tainted nodes take no part in a spread, others may now do.
		w.queue.wait(w.queue.all["p"], whySpread, time.Time{})
		w.followers[1].Saw(watch.Modified, node(t, "a", "{spec: {taints: [{key: l, effect: NoSchedule}]}}"))
		if len(w.queue.heap) != 1 {
			t.Error("a taint wakes no pod that waits for a spread")
		}
	}
}

// TestAClockThatIsSetBackHoldsNobodyBack: those that have waited long come back all the same.
func TestAClockThatIsSetBackHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	q, noon := newQueue(), time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	q.add(pod(t, "p", "", ""), 0)
	for now, want := range map[time.Duration]int{30 * time.Second: 0, time.Minute: 1, -time.Hour: 1} {
		for p := q.next(); p != nil; p = q.next() {
			q.wait(p, whyRoom, noon)
		}
		if q.revive(noon.Add(now), time.Minute); len(q.heap) != want {
			t.Errorf("after %s: %d come back", now, len(q.heap))
		}
	}
}

// demands of pods in TestNobodyWaitsWhoFits.
var demands = []string{
	"{metadata: {labels: {app: a}}, spec: {containers: [{name: c, resources: {requests: {cpu: '1'}}}]}}",
	"{metadata: {labels: {app: b}}, spec: {containers: [{name: c, resources: {requests: {cpu: 700m, memory: 300Mi}}, ports: [{containerPort: 1, hostPort: 80}]}]}}",
	"{metadata: {labels: {app: c}}, spec: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: host, labelSelector: {matchLabels: {app: c}}}]}}}}",
	"{metadata: {labels: {app: d}}, spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: c}}}]}}}}",
	"{metadata: {labels: {app: e}}, spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: e}}}]}}}}",
	"{metadata: {labels: {app: f}}, spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: f}}}]}}",
	"{metadata: {labels: {app: g}}, spec: {nodeSelector: {disk: ssd}}}",
	"{metadata: {labels: {app: h}}, spec: {tolerations: [{key: k, operator: Exists}], containers: [{name: c, resources: {requests: {cpu: '2'}}}]}}",
	"{metadata: {labels: {app: j}}, spec: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: Honor, labelSelector: {matchLabels: {app: j}}}]}}",
	"{metadata: {labels: {app: i}}, spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}",
}

// TestNobodyWaitsWhoFits changes a small world at random. After each change, once all have been decided about
// whom the change woke, none of those that wait would fit; and what was remembered of another pod is
// what a decision of its own would say.
func TestNobodyWaitsWhoFits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		claim := read[corev1.PersistentVolumeClaim](t, "{metadata: {name: data, namespace: shop}, spec: {volumeName: v, accessModes: [ReadWriteOncePod]}, status: {phase: Bound}}")
		w := worldOf(claim, read[corev1.PersistentVolume](t, "{metadata: {name: v}}"))
		pods, nodes := w.followers[0], w.followers[1]
		version := int64(1)
		next := func() int64 { version++; return version }
		live := map[string]*corev1.Pod{}
		for i := range 120 {
			switch r.IntN(6) {
			case 0, 1:
				kind := r.IntN(len(demands))
				name := "p" + strconv.Itoa(i)
				live[name] = owned(pod(t, name, "", demands[kind]), strconv.Itoa(kind))
				pods.Saw(watch.Added, live[name])
			case 2, 3:
				nodes.Saw(watch.Modified, node(t, string(rune('a'+r.IntN(5))), fmt.Sprintf("{metadata: {labels: {zone: z%d, disk: %s}}, spec: {unschedulable: %t, taints: [%s]}, status: {conditions: [{type: Ready, status: '%s'}, {type: DiskPressure, status: '%s'}], allocatable: {cpu: '%d'}}}",
					r.IntN(3), []string{"ssd", "hdd"}[r.IntN(2)], r.IntN(4) == 0, []string{"", "", "{key: k, effect: NoSchedule}"}[r.IntN(3)], []string{"True", "True", "True", "Unknown"}[r.IntN(4)], []string{"True", "False", "False"}[r.IntN(3)], 1+r.IntN(3))))
			case 4, 5:
				for name, p := range live {
					pods.Saw(watch.Deleted, p)
					delete(live, name)
					break
				}
			}
			w.drain(next)
			w.tell(live, pods, next)
			w.drain(next)
			var s scratch
			for _, p := range w.queue.waiting {
				if d := w.decide(w.task(p.pod), &s); d.host != nil {
					t.Fatalf("seed %d, step %d: %s waits for %b and fits on %s", seed, i, p.pod.Name, p.cause, d.host.name)
				}
			}
		}
	}
}

// tell has the watch say what was booked.
func (w *world) tell(live map[string]*corev1.Pod, pods follower, next func() int64) {
	for _, p := range w.pods {
		if !p.booked {
			continue
		}
		bound := live[p.key.Name].DeepCopy()
		bound.Spec.NodeName, bound.ResourceVersion = p.node, strconv.FormatInt(next(), 10)
		live[p.key.Name] = bound
		pods.Saw(watch.Modified, bound)
	}
}

// TestOpenShiftsPolicyIsTakenAsItIs: what an installation of OpenShift 3.11 has in scheduler.json.
func TestOpenShiftsPolicyIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	w := worldOf(schedulerConfig(`predicates: [{name: NoVolumeZoneConflict}, {name: MaxEBSVolumeCount}, {name: MaxGCEPDVolumeCount}, {name: MaxAzureDiskVolumeCount}, {name: MatchInterPodAffinity},
  {name: NoDiskConflict}, {name: GeneralPredicates}, {name: PodToleratesNodeTaints}, {name: CheckNodeMemoryPressure}, {name: CheckNodeDiskPressure}, {name: NoVolumeNodeConflict},
  {name: Region, argument: {serviceAffinity: {labels: [region]}}}]
priorities: [{name: SelectorSpreadPriority, weight: 1}, {name: InterPodAffinityPriority, weight: 1}, {name: LeastRequestedPriority, weight: 1}, {name: BalancedResourceAllocation, weight: 1},
  {name: NodePreferAvoidPodsPriority, weight: 10000}, {name: NodeAffinityPriority, weight: 1}, {name: TaintTolerationPriority, weight: 1}, {name: Zone, weight: 2, argument: {serviceAntiAffinity: {label: zone}}}]`, ""))
	var names []string
	for _, p := range w.policy.predicates {
		names = append(names, p.name)
	}
	want := []string{"CheckNodeCondition", "CheckNodeUnschedulable", "HostName", "PodToleratesNodeTaints", "MatchNodeSelector", "CheckNodeMemoryPressure", "CheckNodeDiskPressure", "PodFitsHostPorts",
		"PodFitsResources", "NoDiskConflict", "CheckVolumeBinding", "NoVolumeZoneConflict", "MatchInterPodAffinity", "MatchInterPodAffinity", "Region"}
	if !slices.Equal(names, want) || len(w.policy.priorities) != 8 || w.policy.priorities[4].weight != 10000 {
		t.Errorf("got %v, and %d priorities", names, len(w.policy.priorities))
	}
}

// TestAPoisonousPodTakesNoneAlong: those that were decided about before it, and after it, are bound.
func TestAPoisonousPodTakesNoneAlong(t *testing.T) {
	t.Parallel()
	w := worldOf(node(t, "a", ""))
	w.policy.predicates = append(w.policy.predicates, predicate{"Poison", whyPod, func(task *task, _ *host, whys []string) []string {
		if task.pod.Name == "poison" {
			panic("poison")
		}
		return whys
	}})
	s := &scheduler{Deps: Deps{Clock: time.Now}, world: w}
	for _, name := range []string{"a", "poison", "z"} {
		w.followers[0].Saw(watch.Added, pod(t, name, "", ""))
	}
	batch, _ := s.next()
	if len(batch) != 2 || batch[0].node != "a" || batch[1].failed == nil || len(w.queue.waiting) != 1 {
		t.Fatalf("got %d bindings, the last failed with %v; %d wait", len(batch), batch[len(batch)-1].failed, len(w.queue.waiting))
	}
	if batch, _ = s.next(); len(batch) != 1 || batch[0].pod.Name != "z" || len(w.pods) != 2 {
		t.Errorf("got %d bindings, %d pods are booked", len(batch), len(w.pods))
	}
}

// TestARefusalThatIsOvertakenIsToldAgain: the pod's status was written meanwhile, which would not bring it back
// by itself.
func TestARefusalThatIsOvertakenIsToldAgain(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{true, false} {
		w := worldOf(node(t, "a", "{spec: {unschedulable: true}}"))
		s := &scheduler{Deps: Deps{Clock: time.Now}, world: w}
		old, newer := pod(t, "p", "", ""), pod(t, "p", "", "{status: {phase: Pending}}")
		old.ResourceVersion, newer.ResourceVersion = "2", "3"
		w.followers[0].Saw(watch.Added, old)
		batch, _ := s.next()
		if early {
			w.followers[0].Saw(watch.Modified, newer)
		}
		s.overtaken(batch[0])
		if !early {
			w.followers[0].Saw(watch.Modified, newer)
		}
		if batch, _ = s.next(); len(batch) != 1 || batch[0].pod != newer {
			t.Errorf("event first %t: %d decisions", early, len(batch))
		}
	}
}
