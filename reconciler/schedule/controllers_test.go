package schedule_test

import (
	"context"
	"log/slog"
	"sync"
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

type silent struct{}

func (silent) Event(client.Object, string, string, string, ...any) {}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "c", Image: "busybox", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}}}
}

func TestPodsWaitForRoomAndAreBound(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	run, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		loop.Run(run, c, slog.New(slog.DiscardHandler), schedule.Controllers(schedule.Deps{Client: c, Events: silent{}, Retry: time.Hour})...)
	})
	t.Cleanup(func() { stop(); wg.Wait() })

	must(t, c.Create(ctx, pod("one")))
	get := func(name string) *corev1.Pod {
		p := &corev1.Pod{}
		must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, p))
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
	eventually(t, "the pod says that it fits nowhere", func() bool { return unschedulable("one") })

	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	must(t, c.Create(ctx, n))
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("1")}
	must(t, c.Status().Update(ctx, n))
	eventually(t, "a node that comes wakes the pod", func() bool { return get("one").Spec.NodeName == "n1" })

	must(t, c.Create(ctx, pod("two")))
	eventually(t, "the node is full", func() bool { return unschedulable("two") })
	done := get("one")
	done.Status.Phase = corev1.PodSucceeded
	must(t, c.Status().Update(ctx, done))
	eventually(t, "a pod that ends makes room", func() bool { return get("two").Spec.NodeName == "n1" })
}
