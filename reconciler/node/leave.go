package node

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Toleration is how long pods stay on a node that is not ready or silent where they do not say; it is
// Kubernetes' default.
const Toleration = 300 * time.Second

// step is what is done about one pod.
type step string

const (
	// unready takes the pod's readiness away: nobody knows how it does.
	unready step = "unready"
	// leave deletes it; its node stops it, when it can be reached.
	leave step = "leave"
	// evict deletes it if its budget allows.
	evict step = "evict"
	// drop removes the object without asking the node, which is gone.
	drop step = "drop"
	// stay keeps a pod that was to be evicted.
	stay step = "stay"
)

// stormPause is how soon the pods of a silent node are looked at again where most nodes are silent:
// nothing tells this node that the others are back.
const stormPause = 10 * time.Second

type action struct {
	pod  *corev1.Pod
	step step
	// why, for people.
	why string
}

// situation is all that is looked at to decide about a node's pods.
type situation struct {
	// node nil: there is no Node any more.
	node   *corev1.Node
	config v1alpha1.NodeConfigSpec
	pods   []*corev1.Pod
	// stateful pods have a state that only one of them may write.
	stateful map[*corev1.Pod]bool
	// storm: so many nodes are silent that the fault may be on this side.
	storm bool
	now   time.Time
}

// decide lists what is to be done about the pods of a node, and when to look again; 0: when something
// changes.
func decide(s situation) (acts []action, after time.Duration) {
	// One that says itself that it is not ready is there, whatever git says.
	gone := s.node == nil || s.config.Gone && readiness(s.node) != corev1.ConditionTrue && readiness(s.node) != corev1.ConditionFalse
	for _, p := range s.pods {
		switch {
		case gone:
			acts = append(acts, action{p, drop, "its node is gone"})
		case ended(p):
		default:
			a, wait := s.about(p)
			acts = append(acts, a...)
			if wait > 0 && (after == 0 || wait < after) {
				after = wait
			}
		}
	}
	return acts, after
}

func (s situation) about(p *corev1.Pod) (acts []action, after time.Duration) {
	if readiness(s.node) == corev1.ConditionUnknown && isReady(p) {
		acts = append(acts, action{p, unready, "its node does not report"})
	}
	if p.DeletionTimestamp != nil {
		return acts, 0
	}
	if s.stateful[p] && !s.obeys() {
		// Where nobody can tell whether it has ended, another of it must not begin.
		if s.config.Drain && !daemon(p) {
			acts = append(acts, action{p, stay, "has a state of its own, and its node cannot be asked to end it: it leaves when the node is well, or said to be gone"})
		}
		return acts, 0
	}
	for _, t := range s.node.Spec.Taints {
		silent := t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeNotReady
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		if silent && s.storm {
			after = stormPause
			continue
		}
		stays, forever := tolerated(p, &t)
		if forever {
			continue
		}
		left := stays
		if t.TimeAdded != nil {
			left = t.TimeAdded.Add(stays).Sub(s.now)
		}
		if left <= 0 {
			return append(acts, action{p, leave, "it does not tolerate taint " + t.Key + " of its node, or no longer"}), 0
		}
		if after == 0 || left < after {
			after = left
		}
	}
	if s.config.Drain && !daemon(p) {
		acts = append(acts, action{p, evict, "its node is drained"})
	}
	return acts, after
}

// obeys says that a node hears that a pod shall end, and does it.
func (s situation) obeys() bool {
	r := readiness(s.node)
	return r != corev1.ConditionUnknown && r != corev1.ConditionFalse
}

// tolerated is how long a pod tolerates a taint: the shortest of the tolerations that match.
func tolerated(p *corev1.Pod, t *corev1.Taint) (stays time.Duration, forever bool) {
	silent := t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeNotReady
	if silent && daemon(p) {
		return 0, true
	}
	matched := false
	var least *int64
	for i := range p.Spec.Tolerations {
		x := &p.Spec.Tolerations[i]
		if !api.Tolerates(x, t) {
			continue
		}
		matched = true
		if x.TolerationSeconds != nil && (least == nil || *x.TolerationSeconds < *least) {
			least = x.TolerationSeconds
		}
	}
	switch {
	case !matched && silent:
		return Toleration, false
	case !matched:
		return 0, false
	case least == nil:
		return 0, true
	}
	return time.Duration(max(*least, 0)) * time.Second, false
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func daemon(p *corev1.Pod) bool {
	o := metav1.GetControllerOf(p)
	return o != nil && o.Kind == "DaemonSet"
}
