package schedule_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/state/statetest"
)

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "c", Image: "busybox", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}}}
}

func TestPodsWaitForRoomAndAreBound(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	statetest.Run(t, c, schedule.Controllers(schedule.Deps{Client: c, Events: statetest.Silent{}, Retry: time.Hour})...)

	statetest.Must(t, c.Create(ctx, pod("one")))
	get := func(name string) *corev1.Pod {
		p := &corev1.Pod{}
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, p))
		return p
	}
	unschedulable := func(name string) bool {
		for _, cond := range get(name).Status.Conditions {
			if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse && cond.Reason == corev1.PodReasonUnschedulable {
				return true
			}
		}
		return false
	}
	statetest.Eventually(t, "the pod says that it fits nowhere", func() bool { return unschedulable("one") })

	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	statetest.Must(t, c.Create(ctx, n))
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("1")}
	statetest.Must(t, c.Status().Update(ctx, n))
	statetest.Eventually(t, "a node that comes wakes the pod", func() bool { return get("one").Spec.NodeName == "n1" })

	statetest.Must(t, c.Create(ctx, pod("two")))
	statetest.Eventually(t, "the node is full", func() bool { return unschedulable("two") })
	done := get("one")
	done.Status.Phase = corev1.PodSucceeded
	statetest.Must(t, c.Status().Update(ctx, done))
	statetest.Eventually(t, "a pod that ends makes room", func() bool { return get("two").Spec.NodeName == "n1" })
}

// TestAPortOfTheNodeIsOnePods: PodFitsPorts keeps pods that want the same one apart, and says so.
func TestAPortOfTheNodeIsOnePods(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	readyNode(t, c, "n1", "9")
	run(t, c, statetest.Silent{})
	want := func(name string, port corev1.ContainerPort) *corev1.Pod {
		p := pod(name)
		port.ContainerPort = 8080
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{port}
		statetest.Must(t, c.Create(ctx, p))
		return p
	}
	on := func(p *corev1.Pod) string {
		statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p))
		return p.Spec.NodeName
	}
	first := want("first", corev1.ContainerPort{HostPort: 80, HostIP: "192.0.2.1"})
	statetest.Eventually(t, "the first is bound", func() bool { return on(first) == "n1" })
	second := want("second", corev1.ContainerPort{HostPort: 80})
	statetest.Eventually(t, "the second is told why not", func() bool {
		return on(second) == "" && len(second.Status.Conditions) == 1 &&
			second.Status.Conditions[0].Message == "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
	})
	for name, port := range map[string]corev1.ContainerPort{
		"another-protocol": {HostPort: 80, Protocol: corev1.ProtocolUDP}, "another-port": {HostPort: 81}, "another-address": {HostPort: 80, HostIP: "192.0.2.2"},
	} {
		p := want(name, port)
		statetest.Eventually(t, name, func() bool { return on(p) == "n1" })
	}
	// It goes on waiting while one of those that have the port is there.
	statetest.Must(t, c.Delete(ctx, first, client.GracePeriodSeconds(0)))
	var other corev1.Pod
	statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "another-address"}, &other))
	if on(second) != "" {
		t.Error("it shares its port")
	}
	statetest.Must(t, c.Delete(ctx, &other, client.GracePeriodSeconds(0)))
	statetest.Eventually(t, "a port that is free again wakes who waits", func() bool { return on(second) == "n1" })
}

// live is live state.
type live interface {
	client.WithWatch
	Bind(ctx context.Context, pods []*corev1.Pod) []error
}

func run(t *testing.T, c live, events schedule.Recorder) {
	t.Helper()
	statetest.Run(t, c, schedule.Controllers(schedule.Deps{Client: c, Events: events, Retry: time.Hour})...)
}

func readyNode(t *testing.T, c client.Client, name, cpu string) *corev1.Node {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
	statetest.Must(t, c.Create(t.Context(), n))
	return n
}

// TestTheMoreImportantPodIsFirst: both want the only place, and the one that came later has the
// higher priority.
func TestTheMoreImportantPodIsFirst(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	statetest.Must(t, c.Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000}))
	statetest.Must(t, c.Create(ctx, pod("a-usual")))
	important := pod("b-important")
	important.Spec.PriorityClassName = "high"
	statetest.Must(t, c.Create(ctx, important))
	readyNode(t, c, "n1", "1")
	run(t, c, statetest.Silent{})
	statetest.Eventually(t, "one of them is bound", func() bool {
		var a, b corev1.Pod
		statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(important), &b))
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "a-usual"}, &a))
		if a.Spec.NodeName != "" {
			t.Fatal("the less important pod took the place")
		}
		return b.Spec.NodeName == "n1" && len(a.Status.Conditions) == 1 && a.Status.Conditions[0].Message == "0/1 nodes are available: 1 Insufficient cpu."
	})
}

// TestWhatCouldHelpWakes the pods that wait: each for something of its own.
func TestWhatCouldHelpWakes(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	n := readyNode(t, c, "n1", "9")
	n.Spec.Unschedulable = true
	statetest.Must(t, c.Update(ctx, n))
	run(t, c, statetest.Silent{})
	change := map[string]func(*corev1.Pod){
		"cordoned": func(*corev1.Pod) {},
		"class":    func(p *corev1.Pod) { p.Spec.PriorityClassName = "late" },
		"selector": func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} },
		"claim": func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		},
		"near": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "disk", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}}}}}
		},
	}
	for name, f := range change {
		p := pod(name)
		f(p)
		statetest.Must(t, c.Create(ctx, p))
	}
	get := func(name string) *corev1.Pod {
		var p corev1.Pod
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, &p))
		return &p
	}
	statetest.Eventually(t, "all say that they wait", func() bool {
		for name := range change {
			if len(get(name).Status.Conditions) == 0 {
				return false
			}
		}
		return true
	})
	bound := func(name string) {
		statetest.Eventually(t, name, func() bool { return get(name).Spec.NodeName == "n1" })
	}
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(n), n))
	n.Spec.Unschedulable = false
	statetest.Must(t, c.Update(ctx, n))
	bound("cordoned")
	statetest.Must(t, c.Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Value: 1}))
	bound("class")
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(n), n))
	n.Labels = map[string]string{"disk": "ssd"}
	statetest.Must(t, c.Update(ctx, n))
	bound("selector")
	db := pod("db")
	db.Labels = map[string]string{"app": "db"}
	statetest.Must(t, c.Create(ctx, db))
	bound("near")
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/v"}}}}
	statetest.Must(t, c.Create(ctx, pv))
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}}
	statetest.Must(t, c.Create(ctx, claim))
	claim.Status.Phase = corev1.ClaimBound
	statetest.Must(t, c.Status().Update(ctx, claim))
	bound("claim")
}

// TestAPodIsBoundOnce: a second one runs where the first has not ended yet, and both
// write. Every pod is bound once, because each write asks that the pod is as it was seen.
func TestAPodIsBoundOnce(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	for i := range 4 {
		readyNode(t, c, fmt.Sprintf("n%d", i), "99")
	}
	events := &journal{}
	run(t, c, events)
	run(t, c, events)
	const pods = 60
	for i := range pods {
		statetest.Must(t, c.Create(ctx, pod(fmt.Sprintf("p%d", i))))
	}
	statetest.Eventually(t, "all are bound", func() bool {
		var list corev1.PodList
		statetest.Must(t, c.List(ctx, &list))
		n := 0
		for _, p := range list.Items {
			if p.Spec.NodeName != "" {
				n++
			}
		}
		return n == pods && events.count("Scheduled") >= pods
	})
	if n := events.count("Scheduled"); n != pods {
		t.Errorf("%d bindings of %d pods", n, pods)
	}
}

type journal struct {
	mu sync.Mutex
	n  map[string]int
}

func (j *journal) Event(_ client.Object, _, reason, _ string, _ ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.n == nil {
		j.n = map[string]int{}
	}
	j.n[reason]++
}

func (j *journal) count(reason string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.n[reason]
}
