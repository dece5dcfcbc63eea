package autoscale

import (
	"maps"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// fleet makes pods that request half a core each and use so many thousandths: -1 is not
// measured, -2 pending, -3 measured and not ready, -4 leaving.
func fleet(uses ...int64) ([]corev1.Pod, map[string]int64) {
	var pods []corev1.Pod
	usage := map[string]int64{}
	for i, n := range uses {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: string(rune('a' + i))}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}}}}}}
		p.Status.Phase, p.Status.StartTime = corev1.PodRunning, &metav1.Time{Time: noon.Add(-time.Hour)}
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}
		switch n {
		case -1:
		case -2:
			p.Status.Phase = corev1.PodPending
		case -3:
			p.Status.StartTime = &metav1.Time{Time: noon.Add(-time.Minute)}
			ready.Status = corev1.ConditionFalse
			usage[p.Name] = 2000
		case -4:
			p.DeletionTimestamp = &metav1.Time{Time: noon}
			usage[p.Name] = 2000
		default:
			usage[p.Name] = n
		}
		p.Status.Conditions = []corev1.PodCondition{ready}
		pods = append(pods, p)
	}
	return pods, usage
}

func TestRecommend(t *testing.T) {
	t.Parallel()
	half := Goal{Resource: corev1.ResourceCPU, Utilization: 50}
	for _, c := range []struct {
		name     string
		goal     Goal
		replicas int32
		uses     []int64
		want     int32
	}{
		{"as it should be", half, 3, []int64{250, 250, 250}, 3},
		{"within tolerance", half, 3, []int64{270, 270, 270}, 3},
		{"twice as much", half, 3, []int64{500, 500, 500}, 6},
		{"rounded up", half, 3, []int64{300, 300, 300}, 4},
		{"half as much", half, 4, []int64{125, 125, 125, 125}, 2},
		{"an amount", Goal{Resource: corev1.ResourceCPU, Average: 100}, 2, []int64{200, 200}, 4},
		{"a missing one counts as idle when growing", half, 2, []int64{500, -1}, 2},
		{"and as busy when shrinking", half, 3, []int64{100, 100, -1}, 3},
		{"one that starts does not push", half, 2, []int64{500, -2}, 2},
		{"nor one that is not ready yet", half, 2, []int64{500, -3}, 2},
		{"yet much is much", half, 2, []int64{1000, -3}, 4},
		{"one that leaves takes no part", half, 2, []int64{250, 250, -4}, 2},
	} {
		pods, usage := fleet(c.uses...)
		got, err := Recommend(Sample{Goal: c.goal, Replicas: c.replicas, Pods: pods, Usage: usage, Up: tolerance, Down: tolerance, Now: noon})
		if err != nil || got.Replicas != c.want {
			t.Errorf("%s: %+v, %v, want %d", c.name, got, err, c.want)
		}
	}
	for name, uses := range map[string][]int64{"no pods": nil, "nothing measured": {-1, -1}} {
		pods, usage := fleet(uses...)
		if got, err := Recommend(Sample{Goal: half, Replicas: 2, Pods: pods, Usage: usage, Now: noon}); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	pods, usage := fleet(100)
	pods[0].Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	if _, err := Recommend(Sample{Goal: half, Replicas: 1, Pods: pods, Usage: usage, Now: noon}); err == nil || err.Error() != "missing request for cpu in container c of Pod a" {
		t.Errorf("without requests: %v", err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration, n int32) Step { return Step{noon.Add(-d), n} }
	rules := func(window int32, policies ...autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
		most := autoscalingv2.MaxChangePolicySelect
		return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &most, Policies: policies}
	}
	pod := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 60}
	tenth := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 10, PeriodSeconds: 60}
	slow := &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(0, pod), ScaleDown: rules(0, pod)}
	never := autoscalingv2.DisabledPolicySelect
	fixed := &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(0, pod), ScaleDown: &autoscalingv2.HPAScalingRules{SelectPolicy: &never, Policies: []autoscalingv2.HPAScalingPolicy{pod}}}
	for _, c := range []struct {
		name        string
		l           Limits
		recommended int32
		want        int32
		able, held  string
	}{
		{"free", Limits{Replicas: 3}, 5, 5, "ReadyForNewScale", "DesiredWithinRange"},
		{"to the top", Limits{Replicas: 9}, 20, 10, "ReadyForNewScale", "TooManyReplicas"},
		{"to the bottom", Limits{Replicas: 3}, 1, 2, "ReadyForNewScale", "TooFewReplicas"},
		{"no more than double, or four more", Limits{Replicas: 2}, 9, 6, "ReadyForNewScale", "ScaleUpLimit"},
		{"five minutes of a higher recommendation", Limits{Replicas: 6, Recommended: []Step{ago(4*time.Minute, 5)}}, 3, 5, "ScaleDownStabilized", "DesiredWithinRange"},
		{"six minutes", Limits{Replicas: 6, Recommended: []Step{ago(6*time.Minute, 5)}}, 3, 3, "ReadyForNewScale", "DesiredWithinRange"},
		{"one a minute up", Limits{Replicas: 4, Behavior: slow}, 8, 5, "ReadyForNewScale", "ScaleUpLimit"},
		{"that was this minute's", Limits{Replicas: 5, Behavior: slow, Changes: []Step{ago(30*time.Second, 1)}}, 8, 5, "ReadyForNewScale", "ScaleUpLimit"},
		{"one a minute down", Limits{Replicas: 8, Behavior: slow, Changes: []Step{ago(2*time.Minute, -1)}}, 3, 7, "ReadyForNewScale", "ScaleDownLimit"},
		{"a tenth, rounded up", Limits{Replicas: 4, Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(0, tenth), ScaleDown: rules(0, tenth)}}, 8, 5, "ReadyForNewScale", "ScaleUpLimit"},
		{"never down", Limits{Replicas: 8, Behavior: fixed}, 3, 8, "ReadyForNewScale", "ScaleDownLimit"},
		{"slow to grow", Limits{Replicas: 4, Recommended: []Step{ago(time.Minute, 4)}, Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules(120, pod), ScaleDown: rules(0, pod)}}, 5, 4, "ScaleUpStabilized", "DesiredWithinRange"},
	} {
		c.l.Min, c.l.Max, c.l.Now = 2, 10, noon
		got := c.l.Limit(c.recommended)
		if got.Replicas != c.want || got.Able[0] != c.able || got.Held[0] != c.held {
			t.Errorf("%s: %+v, want %d %s %s", c.name, got, c.want, c.able, c.held)
		}
	}
}

func TestUsageIsOfWholePods(t *testing.T) {
	t.Parallel()
	pod := func(name string, containers ...string) (p corev1.Pod) {
		p.Namespace, p.Name = "shop", name
		for _, c := range containers {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
		}
		return p
	}
	metrics := func(project, name string, containers ...string) (m api.PodMetrics) {
		m.Namespace, m.Name = project, name
		for _, c := range containers {
			m.Containers = append(m.Containers, api.ContainerMetrics{Name: c, Usage: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}})
		}
		return m
	}
	pods := []corev1.Pod{pod("whole", "a", "b"), pod("half", "a", "b"), pod("none", "a"), pod("elsewhere", "a")}
	measured := []api.PodMetrics{metrics("shop", "whole", "a", "b", "sidecar"), metrics("shop", "half", "a"), metrics("bank", "elsewhere", "a")}
	for _, c := range []struct {
		goal Goal
		want map[string]int64
	}{
		{Goal{Resource: corev1.ResourceCPU}, map[string]int64{"whole": 300}},
		{Goal{Resource: corev1.ResourceCPU, Container: "a"}, map[string]int64{"whole": 100, "half": 100}},
		{Goal{Resource: corev1.ResourceMemory}, map[string]int64{}},
	} {
		if got := usage(pods, measured, c.goal); !maps.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.goal, got, c.want)
		}
	}
}
