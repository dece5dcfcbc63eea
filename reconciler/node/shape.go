package node

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

// GivenLabels is an annotation of a Node with the names of the labels that its NodeConfig gave.
const GivenLabels = "slipway.dev/node-config-labels"

// shape is what a Node's metadata and spec shall be, by its NodeConfig and by its condition. The
// taints are all from here: those of the config, and one for a node that is not ready.
func shape(n *corev1.Node, c *v1alpha1.NodeConfigSpec, now time.Time) *corev1.Node {
	next := n.DeepCopy()
	given := strings.FieldsFunc(n.Annotations[GivenLabels], func(r rune) bool { return r == ',' })
	for _, k := range given {
		if _, still := c.Labels[k]; !still {
			delete(next.Labels, k)
		}
	}
	var mine []string
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		if _, own := n.Labels[k]; own && !slices.Contains(given, k) {
			continue
		}
		if next.Labels == nil {
			next.Labels = map[string]string{}
		}
		next.Labels[k] = c.Labels[k]
		mine = append(mine, k)
	}
	switch {
	case len(mine) == 0:
		delete(next.Annotations, GivenLabels)
	case next.Annotations == nil:
		next.Annotations = map[string]string{}
		fallthrough
	default:
		next.Annotations[GivenLabels] = strings.Join(mine, ",")
	}
	next.Spec.Unschedulable = c.Unschedulable || c.Drain || c.Gone
	next.Spec.Taints = taints(n, c.Taints, now)
	return next
}

// taints keep the time of those that were there before.
func taints(n *corev1.Node, wanted []corev1.Taint, now time.Time) []corev1.Taint {
	all := slices.Clone(wanted)
	switch readiness(n) {
	case corev1.ConditionUnknown:
		all = append(all, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute})
	case corev1.ConditionFalse:
		all = append(all, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute})
	}
	for i := range all {
		t := &all[i]
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		at := metav1.NewTime(now).Rfc3339Copy()
		t.TimeAdded = &at
		for _, old := range n.Spec.Taints {
			// A time to come is one of before the clock was set back, and would keep the pods for as long.
			if old.Key == t.Key && old.Effect == t.Effect && old.TimeAdded != nil && !old.TimeAdded.After(now) {
				t.TimeAdded = old.TimeAdded
			}
		}
	}
	return all
}

// readiness is a node's condition Ready; empty: it has never said.
func readiness(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

func heartbeat(n *corev1.Node) time.Time {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.LastHeartbeatTime.Time
		}
	}
	return time.Time{}
}
