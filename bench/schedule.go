package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
)

const (
	// kubeGate is what kube-scheduler's own performance test asked of it for years, in pods a second:
	// SchedulingBasic with 10,000 pods on 5,000 nodes.
	kubeGate = 270
	// scheduleTarget is ours, in pods a second.
	scheduleTarget = 2000
	// podsPerNode bounds the pods of a simulated node, and scheduledApps is how many services there are.
	podsPerNode   = 110
	scheduledApps = 50
)

// schedulePods measures how long it takes to give every pod of live state its node: from the scheduler's
// start until live state has told the last binding.
func schedulePods(ctx context.Context, e *Env) error {
	nodes, pods := e.size(500, 10), e.size(5000, 100)
	var took, busy []float64
	for range e.runs(3) {
		one, err := scheduleOnce(ctx, e, nodes, pods)
		if err != nil {
			return err
		}
		took, busy = append(took, one.seconds), append(busy, one.processor)
	}
	t := median(took)
	l := Line{
		What: fmt.Sprintf("%s pods bound to %d nodes", thousands(pods), nodes), Ours: secs(t),
		PeerName: "kube-scheduler's own gate", Peer: secs(float64(pods) / kubeGate), Stated: true,
		Same: "every pod is on a node, and no node has more than it has room for, as read back from live state",
		Note: fmt.Sprintf("%.0f pods a second, with %.2f s of all processors' time for decisions, writes, etcd and watches, in live state that waits for the disk at every write: pods of %d services, which are spread over nodes and three zones, with requests. "+
			"From the scheduler's start, the pods being there, until a watch has told the last binding. Events are recorded, too, of which such a burst drops some. The gate is that of scheduler_perf's SchedulingBasic, %d pods a second on 5,000 nodes "+
			"on a machine of Kubernetes' own; since then it was raised to 680.", float64(pods)/t, median(busy), scheduledApps, kubeGate),
	}
	if !e.Short {
		l.AtMost = secs(float64(pods) / scheduleTarget)
	}
	e.add(l)
	return nil
}

// scheduled is how long it took, and how much time of processors, in seconds.
type scheduled struct{ seconds, processor float64 }

func scheduleOnce(ctx context.Context, e *Env, nodes, pods int) (s scheduled, err error) {
	dir, err := e.folder("schedule")
	if err != nil {
		return s, err
	}
	store, err := state.Open(ctx, state.Options{
		DataDir: filepath.Join(dir, "state"), Log: quiet(),
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate,
	})
	if err != nil {
		return s, err
	}
	defer store.Close()
	c := store.Client()
	if err := furnishNodes(ctx, c, nodes, pods); err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	events, err := c.Watch(ctx, &corev1.PodList{}, client.InNamespace(workload.Namespace))
	if err != nil {
		return s, err
	}
	defer events.Stop()
	if err := countPods(ctx, events, apiwatch.Added, pods); err != nil {
		return s, err
	}
	recorder := event.New(c, "slipway", quiet())
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	began, spent := time.Now(), usedProcessors()
	wg.Go(func() {
		loop.Run(running, c, quiet(), schedule.Controllers(schedule.Deps{Client: c, Events: recorder, Log: quiet()})...)
	})
	if err := countPods(ctx, events, apiwatch.Modified, pods); err != nil {
		return s, err
	}
	s = scheduled{time.Since(began).Seconds(), (usedProcessors() - spent).Seconds()}
	if err := recorder.Flush(ctx); err != nil {
		return s, err
	}
	return s, roomKept(ctx, c, pods)
}

// usedProcessors is what this process has used of all processors.
func usedProcessors() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// furnishNodes makes nodes that nobody runs, services, and pods without a node.
func furnishNodes(ctx context.Context, c client.Client, nodes, pods int) error {
	var objects []client.Object
	for i := range nodes {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%03d", i), Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3)}}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("64Gi"), "pods": *resource.NewQuantity(podsPerNode, resource.DecimalSI)}
		objects = append(objects, n)
	}
	app := func(i int) map[string]string { return map[string]string{"app": fmt.Sprintf("app-%d", i%scheduledApps)} }
	for i := range scheduledApps {
		objects = append(objects, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: workload.Namespace, Name: fmt.Sprintf("app-%d", i)},
			Spec:       corev1.ServiceSpec{Selector: app(i), Ports: []corev1.ServicePort{{Port: 80}}},
		})
	}
	for i := range pods {
		objects = append(objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: workload.Namespace, Name: fmt.Sprintf("pod-%d", i), Labels: app(i)},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/app:1", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("200Mi")},
			}}}},
		})
	}
	const writers = 16
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < len(objects) && errs[w] == nil; i += writers {
				errs[w] = c.Create(ctx, objects[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// countPods waits for events of as many pods; of those that were modified only ones with a node count.
func countPods(ctx context.Context, events apiwatch.Interface, kind apiwatch.EventType, want int) error {
	seen := map[string]bool{}
	for len(seen) < want {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pods %s: %w", len(seen), want, kind, ctx.Err())
		case ev, ok := <-events.ResultChan():
			if !ok || ev.Type == apiwatch.Error {
				return errors.New("the watch ended")
			}
			if p, isPod := ev.Object.(*corev1.Pod); isPod && ev.Type == kind && (kind == apiwatch.Added || p.Spec.NodeName != "") {
				seen[p.Name] = true
			}
		}
	}
	return nil
}

// roomKept checks that every pod is on a node that has room for it.
func roomKept(ctx context.Context, c client.Client, pods int) error {
	var list corev1.PodList
	var nodes corev1.NodeList
	if err := errors.Join(c.List(ctx, &list, client.InNamespace(workload.Namespace)), c.List(ctx, &nodes)); err != nil {
		return err
	}
	type sums struct{ cpu, memory, pods int64 }
	on := map[string]sums{}
	for _, p := range list.Items {
		asked := p.Spec.Containers[0].Resources.Requests
		s := on[p.Spec.NodeName]
		on[p.Spec.NodeName] = sums{s.cpu + asked.Cpu().MilliValue(), s.memory + asked.Memory().Value(), s.pods + 1}
	}
	left := len(list.Items)
	for _, n := range nodes.Items {
		s, room := on[n.Name], n.Status.Allocatable
		if s.cpu > room.Cpu().MilliValue() || s.memory > room.Memory().Value() || s.pods > room.Pods().Value() {
			return fmt.Errorf("node %s has more than it has room for: %+v", n.Name, s)
		}
		left -= int(s.pods)
	}
	if len(list.Items) != pods || left != 0 {
		return fmt.Errorf("%d of %d pods are there, and %d of them on no node", len(list.Items), pods, left)
	}
	return nil
}
