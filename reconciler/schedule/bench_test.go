package schedule_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// BenchmarkSchedule binds 5,000 pods of 50 services to 500 nodes, from the scheduler's start until the
// last binding is written to live state.
func BenchmarkSchedule(b *testing.B) {
	const nodes, pods, apps = 500, 5000, 50
	for b.Loop() {
		b.StopTimer()
		c, ctx := statetest.New(b), b.Context()
		for i := range nodes {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%03d", i), Labels: map[string]string{"topology.kubernetes.io/zone": fmt.Sprint(i % 3)}}}
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("110")}
			if err := c.Create(ctx, n); err != nil {
				b.Fatal(err)
			}
		}
		for i := range apps {
			s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("app%d", i)}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": fmt.Sprint(i)}, Ports: []corev1.ServicePort{{Port: 80}}}}
			if err := c.Create(ctx, s); err != nil {
				b.Fatal(err)
			}
		}
		for i := range pods {
			p := pod(fmt.Sprintf("p%d", i))
			p.Labels = map[string]string{"app": fmt.Sprint(i % apps)}
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("200Mi")}
			if err := c.Create(ctx, p); err != nil {
				b.Fatal(err)
			}
		}
		run, stop := context.WithCancel(ctx)
		done := &bound{want: pods, all: make(chan struct{})}
		var wg sync.WaitGroup
		b.StartTimer()
		began, spent := time.Now(), processor(b)
		wg.Go(func() {
			loop.Run(run, c, slog.New(slog.DiscardHandler), schedule.Controllers(schedule.Deps{Client: c, Events: done})...)
		})
		<-done.all
		b.ReportMetric(pods/time.Since(began).Seconds(), "pods/s")
		// Of all that runs in the process: decisions, writes, etcd, watches.
		b.ReportMetric(float64((processor(b)-spent).Microseconds())/pods, "cpu-µs/pod")
		b.StopTimer()
		stop()
		wg.Wait()
		b.StartTimer()
	}
}

// processor is how much time of processors the process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bound counts the pods that were bound.
type bound struct {
	mu   sync.Mutex
	n    int
	want int
	all  chan struct{}
}

func (c *bound) Event(_ client.Object, _, reason, _ string, _ ...any) {
	if reason != "Scheduled" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n == c.want {
		close(c.all)
	}
}
