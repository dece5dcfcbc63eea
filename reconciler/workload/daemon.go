package workload

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/pods"
)

// failedPause is how long a pod that failed at once is left before it is replaced.
const failedPause = 10 * time.Second

// Daemons is what there is of a DaemonSet, at one moment.
type Daemons struct {
	Set   *appsv1.DaemonSet
	Nodes []*corev1.Node
	// Pods are those that the set owns.
	Pods []*corev1.Pod
	// Revision is the hash of the template as it is now.
	Revision string
	// Selector is the node selector of the project, or of the cluster.
	Selector map[string]string
	Now      time.Time
}

// DaemonChange is what a DaemonSet's state asks for; the zero value: nothing but to wait.
type DaemonChange struct {
	// Create names the nodes that get a pod.
	Create []string
	// Delete lists pods to delete.
	Delete []*corev1.Pod
	// After says in how long time alone may change the answer; 0: never.
	After time.Duration
}

// tolerated are the taints of nodes that every daemon tolerates, as in Kubernetes: it is
// there to look after nodes in trouble too.
var tolerated = []corev1.Toleration{
	{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodePIDPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
}

// DecideDaemons says what a DaemonSet needs next: one pod on each node that is eligible,
// none elsewhere, and pods of the newest template as far as the update strategy lets them.
// It is a pure function of what is there.
func DecideDaemons(d Daemons) DaemonChange {
	var out DaemonChange
	if d.Set.DeletionTimestamp != nil {
		return out
	}
	on := d.byNode()
	for _, n := range d.Nodes {
		run, stay := d.eligible(n)
		d.manage(&out, n.Name, on[n.Name], run, stay)
		delete(on, n.Name)
	}
	for _, lost := range on {
		for _, p := range lost {
			if !pods.Leaving(p) {
				out.Delete = append(out.Delete, p)
			}
		}
	}
	if d.Set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		d.roll(&out)
	}
	slices.SortFunc(out.Delete, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	out.Delete = slices.CompactFunc(out.Delete, func(a, b *corev1.Pod) bool { return a == b })
	for _, p := range d.Pods {
		if left, ready := pods.AvailableIn(p, d.Set.Spec.MinReadySeconds, d.Now); ready {
			out.After = pods.Sooner(out.After, left)
		}
	}
	return out
}

// manage keeps one pod on a node that should run one.
func (d Daemons) manage(out *DaemonChange, node string, there []*corev1.Pod, run, stay bool) {
	var running []*corev1.Pod
	for _, p := range there {
		switch {
		case pods.Leaving(p):
			// Its successor comes when it is gone, unless updates surge.
			if d.surge() == 0 {
				running = append(running, p)
			}
		case !stay:
			out.Delete = append(out.Delete, p)
		case pods.Over(p):
			if left := p.CreationTimestamp.Add(failedPause).Sub(d.Now); left > 0 && p.Status.Phase == corev1.PodFailed {
				out.After = pods.Sooner(out.After, left)
				return
			}
			out.Delete = append(out.Delete, p)
		default:
			running = append(running, p)
		}
	}
	switch {
	case run && len(there) == 0:
		out.Create = append(out.Create, node)
	case stay:
		out.Delete = append(out.Delete, d.doubles(running)...)
	}
}

// doubles are the pods of a node beyond the one it should have, the oldest stays; while an
// update surges, one of each template may.
func (d Daemons) doubles(running []*corev1.Pod) []*corev1.Pod {
	sorted := slices.DeleteFunc(slices.Clone(running), pods.Leaving)
	slices.SortFunc(sorted, func(a, b *corev1.Pod) int {
		return api.Older(a, b)
	})
	var out []*corev1.Pod
	kept := map[bool]bool{}
	for _, p := range sorted {
		kind := d.surge() > 0 && d.updated(p)
		if kept[kind] {
			out = append(out, p)
		}
		kept[kind] = true
	}
	return out
}

func (d Daemons) updated(p *corev1.Pod) bool {
	return p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == d.Revision
}

func (d Daemons) surge() int32 {
	u := d.Set.Spec.UpdateStrategy.RollingUpdate
	if d.Set.Spec.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType || u == nil {
		return 0
	}
	return scaledValue(u.MaxSurge, d.wanted(), true)
}

// wanted is on how many nodes a pod should run.
func (d Daemons) wanted() int32 {
	n := int32(0)
	for _, node := range d.Nodes {
		if run, _ := d.eligible(node); run {
			n++
		}
	}
	return n
}

func (d Daemons) byNode() map[string][]*corev1.Pod {
	on := map[string][]*corev1.Pod{}
	for _, p := range d.Pods {
		on[nodeOf(p)] = append(on[nodeOf(p)], p)
	}
	return on
}

// nodeOf is the node that a pod runs on, or that it is meant for.
func nodeOf(p *corev1.Pod) string {
	if p.Spec.NodeName != "" || p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return p.Spec.NodeName
	}
	for _, term := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

// eligible says whether a node should run a pod of the set, and whether one that is there
// may stay: a taint with NoSchedule keeps new ones away only.
func (d Daemons) eligible(n *corev1.Node) (run, stay bool) {
	spec := &d.Set.Spec.Template.Spec
	if spec.NodeName != "" && spec.NodeName != n.Name {
		return false, false
	}
	for label, value := range d.Selector {
		if n.Labels[label] != value {
			return false, false
		}
	}
	if fits, err := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity).Match(n); err != nil || !fits {
		return false, false
	}
	run, stay = true, true
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectPreferNoSchedule || tolerates(slices.Concat(spec.Tolerations, tolerated), t) {
			continue
		}
		run = false
		stay = stay && t.Effect != corev1.TaintEffectNoExecute
	}
	return run, stay
}

func tolerates(all []corev1.Toleration, taint corev1.Taint) bool {
	return slices.ContainsFunc(all, func(t corev1.Toleration) bool {
		switch {
		case t.Effect != "" && t.Effect != taint.Effect, t.Key != "" && t.Key != taint.Key:
			return false
		case t.Operator == corev1.TolerationOpExists:
			return true
		}
		return (t.Operator == "" || t.Operator == corev1.TolerationOpEqual) && t.Value == taint.Value
	})
}

// template makes the pod of a node. It is bound by the scheduler, which the required
// affinity leaves that node only.
func (d Daemons) template(node string) *corev1.PodTemplateSpec {
	t := d.Set.Spec.Template.DeepCopy()
	t.Labels = with(t.Labels, appsv1.DefaultDaemonSetUniqueLabelKey, d.Revision)
	for _, add := range tolerated {
		if !slices.ContainsFunc(t.Spec.Tolerations, func(have corev1.Toleration) bool { return have.MatchToleration(&add) }) {
			t.Spec.Tolerations = append(t.Spec.Tolerations, add)
		}
	}
	if t.Spec.Affinity == nil {
		t.Spec.Affinity = &corev1.Affinity{}
	}
	if t.Spec.Affinity.NodeAffinity == nil {
		t.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	// The set's own node affinity was looked at already: this node passes it.
	t.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
	}}}
	return t
}

func (d Daemons) maxUnavailable() *intstr.IntOrString {
	if u := d.Set.Spec.UpdateStrategy.RollingUpdate; u != nil {
		return u.MaxUnavailable
	}
	return nil
}
