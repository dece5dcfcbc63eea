package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	nodecare "slipway.dev/slipway/reconciler/node"
	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/reconciler/workload"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// starting stands for the nodes: a pod that is bound runs and is ready, one that is to go is gone.
func starting(c *state.Client) loop.Controller {
	return loop.Controller{Name: "nodes", Watches: []loop.Watch{{List: &corev1.PodList{}}}, Reconcile: func(ctx context.Context, key loop.Key) (loop.Result, error) {
		var p corev1.Pod
		if err := c.Get(ctx, key, &p); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
		switch {
		case p.Spec.NodeName == "":
			return loop.Result{}, nil
		case p.DeletionTimestamp != nil:
			return loop.Result{}, client.IgnoreNotFound(c.Delete(ctx, &p, client.GracePeriodSeconds(0)))
		case p.Status.Phase == corev1.PodRunning:
			return loop.Result{}, nil
		}
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
		err := c.Status().Update(ctx, &p)
		if apierrors.IsConflict(err) {
			return loop.Result{After: time.Millisecond}, nil
		}
		return loop.Result{}, client.IgnoreNotFound(err)
	}}
}

// TestADrainMovesADeployment from one node to another with all that takes part in it, and at no moment
// fewer pods are ready than the budget says.
func TestADrainMovesADeployment(t *testing.T) {
	t.Parallel()
	c, ctx, log := statetest.New(t), t.Context(), slog.New(slog.DiscardHandler)
	create := func(objects ...client.Object) {
		t.Helper()
		for _, o := range objects {
			if err := c.Create(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	until := func(what string, ok func() (bool, string)) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			done, now := ok()
			if done {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", what, now)
			}
		}
	}
	const replicas, least = 6, 5
	app := map[string]string{"app": "web"}
	for _, name := range []string{"n1", "n2"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("8Gi"), "pods": resource.MustParse("20")}
		create(n)
	}
	create(
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(replicas - least)), Selector: &metav1.LabelSelector{MatchLabels: app}}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(replicas)), Selector: &metav1.LabelSelector{MatchLabels: app},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: app}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "web:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}}}}}}}},
	)
	events := event.New(c, "slipway", log)
	all := append(workload.Controllers(workload.Deps{Client: c, Events: events, Log: log}), starting(c))
	all = append(all, nodecare.Controllers(nodecare.Deps{Client: c, Events: events, Log: log, Grace: time.Hour})...)
	all = append(all, schedule.Controllers(schedule.Deps{Client: c, Events: events, Log: log})...)
	run, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(run, c, log, all...) })
	t.Cleanup(func() { stop(); wg.Wait() })

	ready := func() (total int, on map[string]int) {
		var list corev1.PodList
		if err := c.List(ctx, &list); err != nil {
			t.Fatal(err)
		}
		on = map[string]int{}
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				total++
				on[p.Spec.NodeName]++
			}
		}
		return total, on
	}
	until("the pods are spread", func() (bool, string) {
		total, on := ready()
		return total == replicas && on["n1"] == replicas/2, fmt.Sprint(total, on)
	})
	config := &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: v1alpha1.NodeConfigSpec{Drain: true}}
	create(config)
	until("the node is drained", func() (bool, string) {
		total, on := ready()
		if total < least {
			t.Fatalf("%d pods are ready, and %d have to be: %v", total, least, on)
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(config), config); err != nil {
			t.Fatal(err)
		}
		drained := meta.IsStatusConditionTrue(config.Status.Conditions, v1alpha1.NodeConfigDrained)
		return drained && total == replicas && on["n2"] == replicas, fmt.Sprint(total, on, config.Status)
	})
}
