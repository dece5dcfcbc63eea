package autoscale

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// look compares, scales, and writes down what was seen.
func (c *autoscalers) look(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler, m *memory, now time.Time) error {
	before := h.Status.DeepCopy()
	failure := c.scale(ctx, h, m, now)
	h.Status.ObservedGeneration = &h.Generation
	if equality.Semantic.DeepEqual(before, &h.Status) {
		return failure
	}
	if err := c.Client.Status().Update(ctx, h); client.IgnoreNotFound(err) != nil {
		return err
	}
	return failure
}

func (c *autoscalers) scale(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler, m *memory, now time.Time) error {
	say := func(of autoscalingv2.HorizontalPodAutoscalerConditionType, is corev1.ConditionStatus, reason, format string, args ...any) {
		h.Status.Conditions = setCondition(h.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: of, Status: is, Reason: reason, Message: fmt.Sprintf(format, args...), LastTransitionTime: metav1.NewTime(now),
		})
	}
	t, err := read(ctx, c.Client, h.Namespace, h.Spec.ScaleTargetRef)
	if err != nil {
		c.warn(h, "FailedGetScale", err)
		say(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedGetScale", "the HPA controller was unable to get the target's current scale: %v", err)
		return err
	}
	say(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	if len(m.recommended) == 0 {
		m.recommended = []Step{{now, t.replicas}}
	}
	h.Status.CurrentReplicas = t.replicas
	want, why := t.replicas, ""
	least := int32(1)
	if h.Spec.MinReplicas != nil {
		least = *h.Spec.MinReplicas
	}
	switch {
	case t.replicas == 0:
		say(autoscalingv2.ScalingActive, corev1.ConditionFalse, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
	case t.replicas > h.Spec.MaxReplicas:
		want, why = h.Spec.MaxReplicas, "Current number of replicas above Spec.MaxReplicas"
	case t.replicas < least:
		want, why = least, "Current number of replicas below Spec.MinReplicas"
	default:
		recommended, metric, err := c.recommend(ctx, h, t, now)
		if err != nil {
			c.warn(h, "FailedComputeMetricsReplicas", err)
			say(autoscalingv2.ScalingActive, corev1.ConditionFalse, "FailedGetResourceMetric", "the HPA was unable to compute the replica count: %v", err)
			return err
		}
		say(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from %s", metric)
		limited := Limits{Min: least, Max: h.Spec.MaxReplicas, Behavior: h.Spec.Behavior, Replicas: t.replicas, Recommended: m.recommended, Changes: m.changes, Now: now}.Limit(recommended)
		m.recommended = append(m.recommended, Step{now, recommended})
		m.prune(now)
		say(autoscalingv2.AbleToScale, corev1.ConditionTrue, limited.Able[0], "%s", limited.Able[1])
		say(autoscalingv2.ScalingLimited, status(limited.IsHeld), limited.Held[0], "%s", limited.Held[1])
		if want = limited.Replicas; want > t.replicas {
			why = metric + " above target"
		} else {
			why = "All metrics below target"
		}
	}
	h.Status.DesiredReplicas = want
	if want == t.replicas {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": t.object.GetResourceVersion()}, "spec": map[string]any{"replicas": want}})
	if err == nil {
		err = c.Client.Patch(ctx, t.object, client.RawPatch(types.MergePatchType, patch))
	}
	if err != nil {
		c.Events.Event(h, corev1.EventTypeWarning, "FailedRescale", "New size: %d; reason: %s; error: %v", want, why, err)
		say(autoscalingv2.AbleToScale, corev1.ConditionFalse, "FailedUpdateScale", "the HPA controller was unable to update the target scale: %v", err)
		return err
	}
	say(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededRescale", "the HPA controller was able to update the target scale to %d", want)
	c.Events.Event(h, corev1.EventTypeNormal, "SuccessfulRescale", "New size: %d; reason: %s", want, why)
	m.changes = append(m.changes, Step{now, want - t.replicas})
	h.Status.LastScaleTime = &metav1.Time{Time: now}
	return nil
}

// recommend asks each metric, and takes the highest answer. Where one cannot answer, the
// others may grow the target, but nothing shrinks it.
func (c *autoscalers) recommend(ctx context.Context, h *autoscalingv2.HorizontalPodAutoscaler, t target, now time.Time) (int32, string, error) {
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(h.Namespace), client.MatchingLabelsSelector{Selector: t.selector}); err != nil {
		return 0, "", err
	}
	measured, err := c.Metrics.PodMetrics(ctx)
	if err != nil && len(measured) == 0 {
		return 0, "", fmt.Errorf("unable to get metrics: %w", err)
	}
	if err != nil {
		// Pods of a node that does not answer were not measured, and count against a change.
		c.Log.Warn("some pods could not be measured", "object", h.Namespace+"/"+h.Name, "error", err)
	}
	best, from := int32(-1), ""
	var failed error
	h.Status.CurrentMetrics = nil
	for _, metric := range h.Spec.Metrics {
		s := Sample{Goal: goalOf(metric), Replicas: t.replicas, Pods: pods.Items, Now: now, Up: tolerance, Down: tolerance}
		if b := h.Spec.Behavior; b != nil {
			s.Up, s.Down = given(b.ScaleUp), given(b.ScaleDown)
		}
		s.Usage = usage(pods.Items, measured, s.Goal)
		r, err := Recommend(s)
		if err != nil {
			failed = fmt.Errorf("failed to get %s: %w", word(s.Goal), err)
			continue
		}
		h.Status.CurrentMetrics = append(h.Status.CurrentMetrics, statusOf(metric, s.Goal, r))
		if r.Replicas > best {
			best, from = r.Replicas, word(s.Goal)
		}
	}
	if failed != nil && best <= t.replicas {
		return 0, "", failed
	}
	return best, from, nil
}

func given(r *autoscalingv2.HPAScalingRules) float64 {
	if r == nil || r.Tolerance == nil {
		return tolerance
	}
	return r.Tolerance.AsApproximateFloat64()
}

func goalOf(m autoscalingv2.MetricSpec) Goal {
	var g Goal
	var t autoscalingv2.MetricTarget
	switch {
	case m.Resource != nil:
		g.Resource, t = m.Resource.Name, m.Resource.Target
	case m.ContainerResource != nil:
		g.Resource, g.Container, t = m.ContainerResource.Name, m.ContainerResource.Container, m.ContainerResource.Target
	}
	if t.AverageUtilization != nil {
		g.Utilization = *t.AverageUtilization
	} else if t.AverageValue != nil {
		g.Average = Amount(g.Resource, *t.AverageValue)
	}
	return g
}

func word(g Goal) string {
	out := string(g.Resource)
	if g.Container != "" {
		out += " container resource"
	} else {
		out += " resource"
	}
	if g.Utilization > 0 {
		return out + " utilization (percentage of request)"
	}
	return out
}

// usage is what each pod uses. One of which a container is missing was not measured: what
// the others use would pass for all of it.
func usage(pods []corev1.Pod, measured []api.PodMetrics, g Goal) map[string]int64 {
	out := map[string]int64{}
	for i := range pods {
		at := slices.IndexFunc(measured, func(m api.PodMetrics) bool {
			return m.Namespace == pods[i].Namespace && m.Name == pods[i].Name
		})
		if at < 0 {
			continue
		}
		if sum, all := sumOf(&pods[i], measured[at].Containers, g); all {
			out[pods[i].Name] = sum
		}
	}
	return out
}

// sumOf adds up what the containers that a goal is about use; all: each was measured.
func sumOf(pod *corev1.Pod, measured []api.ContainerMetrics, g Goal) (sum int64, all bool) {
	uses := map[string]int64{}
	for _, c := range measured {
		if q, ok := c.Usage[g.Resource]; ok && (g.Container == "" || c.Name == g.Container) {
			uses[c.Name] = Amount(g.Resource, q)
			sum += uses[c.Name]
		}
	}
	for _, c := range pod.Spec.Containers {
		if _, ok := uses[c.Name]; !ok && (g.Container == "" || c.Name == g.Container) {
			return 0, false
		}
	}
	return sum, len(uses) > 0
}

func statusOf(m autoscalingv2.MetricSpec, g Goal, r Recommendation) autoscalingv2.MetricStatus {
	value := autoscalingv2.MetricValueStatus{AverageValue: quantity(g.Resource, r.Average)}
	if g.Utilization > 0 {
		value.AverageUtilization = &r.Utilization
	}
	out := autoscalingv2.MetricStatus{Type: m.Type}
	if g.Container != "" {
		out.ContainerResource = &autoscalingv2.ContainerResourceMetricStatus{Name: g.Resource, Container: g.Container, Current: value}
	} else {
		out.Resource = &autoscalingv2.ResourceMetricStatus{Name: g.Resource, Current: value}
	}
	return out
}

func status(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func setCondition(all []autoscalingv2.HorizontalPodAutoscalerCondition, c autoscalingv2.HorizontalPodAutoscalerCondition) []autoscalingv2.HorizontalPodAutoscalerCondition {
	i := slices.IndexFunc(all, func(o autoscalingv2.HorizontalPodAutoscalerCondition) bool { return o.Type == c.Type })
	if i < 0 {
		return append(all, c)
	}
	if all[i].Status == c.Status {
		c.LastTransitionTime = all[i].LastTransitionTime
	}
	all[i] = c
	return all
}
