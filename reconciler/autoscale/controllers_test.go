package autoscale_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ocpappsv1 "github.com/openshift/api/apps/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/autoscale"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// meter measures every pod of a list alike.
type meter struct {
	c     client.Client
	milli atomic.Int64
}

func (m *meter) PodMetrics(ctx context.Context) ([]api.PodMetrics, error) {
	var pods corev1.PodList
	if err := m.c.List(ctx, &pods); err != nil {
		return nil, err
	}
	var out []api.PodMetrics
	for _, p := range pods.Items {
		out = append(out, api.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, Containers: []api.ContainerMetrics{
			{Name: "web", Usage: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(m.milli.Load(), resource.DecimalSI)}}}})
	}
	return out, nil
}

func TestTargetsFollowTheirLoad(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	two := int32(2)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1",
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m")}}}}}}
	autoscaler := func(kind string) *autoscalingv2.HorizontalPodAutoscaler {
		percent, none := int32(50), int32(0)
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: strings.ToLower(kind)}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: kind, Name: "web"}, MinReplicas: &two, MaxReplicas: 5,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &none}},
		}}
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template}}
	dc := &ocpappsv1.DeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: ocpappsv1.DeploymentConfigSpec{Replicas: 1, Selector: map[string]string{"app": "web"}, Template: &template}}
	objects := []client.Object{d, dc, autoscaler("Deployment"), autoscaler("DeploymentConfig")}
	for i := range 2 {
		objects = append(objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("web-", i), Labels: template.Labels}, Spec: template.Spec})
	}
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if p, ok := o.(*corev1.Pod); ok {
			early := metav1.NewTime(time.Now().Add(-time.Hour))
			p.Status.Phase, p.Status.StartTime = corev1.PodRunning, &early
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: early}}
			if err := c.Status().Update(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := &meter{c: c}
	m.milli.Store(100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	go func() {
		defer close(done)
		loop.Run(ctx, c, log, autoscale.Controllers(autoscale.Deps{Client: c, Events: event.New(c, "autoscale", log), Metrics: m, Log: log, Period: 20 * time.Millisecond})...)
	}()
	t.Cleanup(func() { cancel(); <-done })
	becomes := func(what string, want int32) {
		t.Helper()
		detail := ""
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			var h autoscalingv2.HorizontalPodAutoscaler
			for _, o := range []client.Object{d, dc} {
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "deployment"}, &h); err != nil {
				t.Fatal(err)
			}
			detail = fmt.Sprintf("deployment %d, config %d, status %+v", *d.Spec.Replicas, dc.Spec.Replicas, h.Status)
			if *d.Spec.Replicas == want && dc.Spec.Replicas == want && h.Status.DesiredReplicas == want && len(h.Status.CurrentMetrics) == 1 {
				return
			}
		}
		t.Fatalf("%s: %s", what, detail)
	}
	becomes("at its goal, and not below the least", 2)
	m.milli.Store(200)
	becomes("twice the load", 4)
	m.milli.Store(10)
	becomes("nearly none", 2)
}
