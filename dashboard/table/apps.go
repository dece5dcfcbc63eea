package table

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func deploymentCells(d *appsv1.Deployment, now time.Time) []any {
	names, images := containers(&d.Spec.Template.Spec)
	return []any{
		d.Name, readyOf(d.Status.ReadyReplicas, d.Spec.Replicas), d.Status.UpdatedReplicas, d.Status.AvailableReplicas, age(d.CreationTimestamp, now),
		names, images, metav1.FormatLabelSelector(d.Spec.Selector),
	}
}

func replicaSetCells(r *appsv1.ReplicaSet, now time.Time) []any {
	names, images := containers(&r.Spec.Template.Spec)
	return []any{
		r.Name, wanted(r.Spec.Replicas), r.Status.Replicas, r.Status.ReadyReplicas, age(r.CreationTimestamp, now),
		names, images, metav1.FormatLabelSelector(r.Spec.Selector),
	}
}

func statefulSetCells(s *appsv1.StatefulSet, now time.Time) []any {
	names, images := containers(&s.Spec.Template.Spec)
	return []any{s.Name, readyOf(s.Status.ReadyReplicas, s.Spec.Replicas), age(s.CreationTimestamp, now), names, images}
}

func daemonSetCells(d *appsv1.DaemonSet, now time.Time) []any {
	names, images := containers(&d.Spec.Template.Spec)
	s := d.Status
	return []any{
		d.Name, s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberReady, s.UpdatedNumberScheduled, s.NumberAvailable,
		pairs(d.Spec.Template.Spec.NodeSelector), age(d.CreationTimestamp, now), names, images, metav1.FormatLabelSelector(d.Spec.Selector),
	}
}

func revisionCells(r *appsv1.ControllerRevision, now time.Time) []any {
	owner := "<none>"
	if ref := metav1.GetControllerOf(r); ref != nil {
		owner = strings.ToLower(ref.Kind) + ".apps/" + ref.Name
	}
	return []any{r.Name, owner, r.Revision, age(r.CreationTimestamp, now)}
}

func readyOf(ready int32, want *int32) string { return fmt.Sprintf("%d/%d", ready, wanted(want)) }

// wanted is a number of replicas, of which there is one where nothing is said.
func wanted(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func autoscalerCells(h *autoscalingv2.HorizontalPodAutoscaler, now time.Time) []any {
	targets := make([]string, len(h.Spec.Metrics))
	for i, m := range h.Spec.Metrics {
		now := "<unknown>"
		if i < len(h.Status.CurrentMetrics) {
			now = measured(h.Status.CurrentMetrics[i])
		}
		targets[i] = goal(m, now)
	}
	return []any{
		h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, strings.Join(targets, ", "),
		wanted(h.Spec.MinReplicas), h.Spec.MaxReplicas, h.Status.CurrentReplicas, age(h.CreationTimestamp, now),
	}
}

func goal(m autoscalingv2.MetricSpec, now string) string {
	var name string
	var t autoscalingv2.MetricTarget
	switch {
	case m.Resource != nil:
		name, t = string(m.Resource.Name), m.Resource.Target
	case m.ContainerResource != nil:
		name, t = string(m.ContainerResource.Name), m.ContainerResource.Target
	}
	want := "<auto>"
	if t.AverageUtilization != nil {
		want = fmt.Sprintf("%d%%", *t.AverageUtilization)
	} else if t.AverageValue != nil {
		want = t.AverageValue.String()
	}
	return name + ": " + now + "/" + want
}

func measured(m autoscalingv2.MetricStatus) string {
	var v autoscalingv2.MetricValueStatus
	switch {
	case m.Resource != nil:
		v = m.Resource.Current
	case m.ContainerResource != nil:
		v = m.ContainerResource.Current
	}
	if v.AverageUtilization != nil {
		return fmt.Sprintf("%d%%", *v.AverageUtilization)
	}
	if v.AverageValue != nil {
		return v.AverageValue.String()
	}
	return "<unknown>"
}
