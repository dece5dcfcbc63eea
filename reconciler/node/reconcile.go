package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

type controller struct {
	Deps
	index *index
	mu    sync.Mutex
	// seen is when a node's heartbeat was last seen to change, by this process' clock; guarded by mu
	seen map[string]sight
	// deaf is until when live state may not have taken heartbeats, or this process not have heard of
	// them: silence is counted from there at the earliest; guarded by mu
	deaf time.Time
}

type sight struct {
	heartbeat time.Time
	at        time.Time
}

// again is how soon a node is looked at again where another writer was faster.
const again = 20 * time.Millisecond

func (c *controller) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	res, err := c.care(ctx, key.Name)
	if apierrors.IsConflict(err) {
		return loop.Result{After: again}, nil
	}
	return res, err
}

func (c *controller) care(ctx context.Context, name string) (loop.Result, error) {
	var config v1alpha1.NodeConfig
	if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &config); client.IgnoreNotFound(err) != nil {
		return loop.Result{}, err
	}
	n := &corev1.Node{}
	began := c.Clock()
	err := c.Client.Get(ctx, client.ObjectKey{Name: name}, n)
	if c.Clock().Sub(began) > c.Grace/4 {
		c.wasDeaf()
	}
	if apierrors.IsNotFound(err) {
		return c.absent(ctx, name, &config)
	}
	if err != nil {
		return loop.Result{}, err
	}
	silence := c.silence(n)
	if silence >= c.Grace && readiness(n) != corev1.ConditionUnknown {
		if err := c.lost(ctx, n); err != nil {
			return loop.Result{}, err
		}
	}
	next := shape(n, &config.Spec, c.Clock())
	if !equality.Semantic.DeepEqual(n, next) {
		if err := c.Client.Update(ctx, next); err != nil {
			return loop.Result{}, client.IgnoreNotFound(err)
		}
	}
	after, left, err := c.attend(ctx, next, &config)
	if err != nil {
		return loop.Result{}, err
	}
	if err := c.tell(ctx, &config, true, left); err != nil {
		return loop.Result{}, err
	}
	if rest := c.Grace - silence; rest > 0 && (after == 0 || rest < after) {
		after = rest
	}
	return loop.Result{After: after}, nil
}

// silence is for how long a node's heartbeat has not changed, as far as this process has seen. One
// that never reported is not silent, it is about to begin.
func (c *controller) silence(n *corev1.Node) time.Duration {
	beat, now := heartbeat(n), c.Clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.seen[n.Name]
	if !known || !s.heartbeat.Equal(beat) {
		c.seen[n.Name] = sight{beat, now}
		return 0
	}
	if s.at.Before(c.deaf) {
		return now.Sub(c.deaf)
	}
	return now.Sub(s.at)
}

// wasDeaf notes that up to now nothing may have been heard of nodes that do well: the watch was broken
// or has just begun, or live state has been slow to answer.
func (c *controller) wasDeaf() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = c.Clock()
}

// lost writes that nobody knows how a node does.
func (c *controller) lost(ctx context.Context, n *corev1.Node) error {
	for i := range n.Status.Conditions {
		if r := &n.Status.Conditions[i]; r.Type == corev1.NodeReady {
			r.Status, r.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
			r.Message = fmt.Sprintf("has not reported for %s", c.Grace)
			r.LastTransitionTime = metav1.NewTime(c.Clock()).Rfc3339Copy()
			c.Events.Event(n, corev1.EventTypeWarning, "NodeNotReady", "the node has not reported for %s", c.Grace)
			return c.Client.Status().Update(ctx, n)
		}
	}
	return nil
}

// absent lets the pods of a node go whose object was removed, after a while: an agent that lives makes
// its node anew at once.
func (c *controller) absent(ctx context.Context, name string, config *v1alpha1.NodeConfig) (loop.Result, error) {
	now := c.Clock()
	c.mu.Lock()
	s, known := c.seen[name]
	if !known || !s.heartbeat.IsZero() {
		s = sight{at: now}
		c.seen[name] = s
	}
	c.mu.Unlock()
	keys, known := c.index.pods(name)
	if err := c.tell(ctx, config, false, nil); err != nil || known && len(keys) == 0 {
		return loop.Result{}, err
	}
	if !known {
		return loop.Result{After: again}, nil
	}
	if rest := c.Grace - now.Sub(s.at); rest > 0 {
		return loop.Result{After: rest}, nil
	}
	pods, err := c.read(ctx, name, keys)
	if err != nil {
		return loop.Result{}, err
	}
	acts, _ := decide(situation{pods: pods, now: now})
	_, err = c.carryOut(ctx, acts)
	return loop.Result{}, err
}

// attend looks after a node's pods. left says which of those that should leave are still there, and
// why; nil: the node is not drained.
func (c *controller) attend(ctx context.Context, n *corev1.Node, config *v1alpha1.NodeConfig) (time.Duration, []string, error) {
	hurts := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute })
	spec := config.Spec
	troubled := hurts || spec.Drain || spec.Gone
	c.index.mark(n.Name, troubled, spec.Drain)
	if !troubled {
		return 0, nil, nil
	}
	keys, known := c.index.pods(n.Name)
	if !known {
		return again, nil, nil
	}
	pods, err := c.read(ctx, n.Name, keys)
	if err != nil {
		return 0, nil, err
	}
	s := situation{node: n, config: spec, pods: pods, storm: c.index.storm(), now: c.Clock()}
	if s.stateful, err = c.stateful(ctx, pods); err != nil {
		return 0, nil, err
	}
	acts, after := decide(s)
	kept, err := c.carryOut(ctx, acts)
	if !spec.Drain {
		return after, nil, err
	}
	left := []string{}
	for _, p := range pods {
		if !ended(p) && !daemon(p) {
			left = append(left, strings.TrimSpace(p.Namespace+"/"+p.Name+" "+kept[p]))
		}
	}
	slices.Sort(left)
	if len(kept) > 0 && (after == 0 || after > drainEvery) {
		after = drainEvery
	}
	return after, left, err
}

// read gets pods that the index has on a node.
func (c *controller) read(ctx context.Context, name string, keys []loop.Key) ([]*corev1.Pod, error) {
	slices.SortFunc(keys, func(a, b loop.Key) int { return strings.Compare(a.String(), b.String()) })
	var out []*corev1.Pod
	for _, key := range keys {
		p := &corev1.Pod{}
		err := c.Client.Get(ctx, key, p)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.Spec.NodeName == name {
			out = append(out, p)
		}
	}
	return out, nil
}

// stateful are the pods of StatefulSets, and those with a volume that one node at a time may write.
func (c *controller) stateful(ctx context.Context, pods []*corev1.Pod) (map[*corev1.Pod]bool, error) {
	out := map[*corev1.Pod]bool{}
	for _, p := range pods {
		if o := metav1.GetControllerOf(p); o != nil && o.Kind == "StatefulSet" {
			out[p] = true
			continue
		}
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			var claim corev1.PersistentVolumeClaim
			err := c.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: v.PersistentVolumeClaim.ClaimName}, &claim)
			if client.IgnoreNotFound(err) != nil {
				return nil, err
			}
			shared := slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteMany) || slices.Contains(claim.Spec.AccessModes, corev1.ReadOnlyMany)
			out[p] = out[p] || !shared
		}
	}
	return out, nil
}

// carryOut does what was decided, and says why pods stay that were to be evicted.
func (c *controller) carryOut(ctx context.Context, acts []action) (map[*corev1.Pod]string, error) {
	kept := map[*corev1.Pod]string{}
	var none int64
	for _, a := range acts {
		var err error
		switch a.step {
		case unready:
			err = c.unready(ctx, a.pod)
		case leave:
			c.Events.Event(a.pod, corev1.EventTypeWarning, "TaintManagerEviction", "leaves its node: %s", a.why)
			err = c.remove(ctx, a.pod, nil)
		case drop:
			c.Events.Event(a.pod, corev1.EventTypeWarning, "NodeGone", "removed: %s", a.why)
			err = c.remove(ctx, a.pod, &none)
		case stay:
			kept[a.pod] = a.why
		case evict:
			if err = c.evict(ctx, a.pod); err == nil {
				c.Events.Event(a.pod, corev1.EventTypeNormal, "Evicted", "leaves its node: %s", a.why)
			} else if waits(err) {
				kept[a.pod], err = err.Error(), nil
			}
		}
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return kept, fmt.Errorf("pod %s/%s: %s: %w", a.pod.Namespace, a.pod.Name, a.step, err)
		}
	}
	return kept, nil
}

func (c *controller) unready(ctx context.Context, p *corev1.Pod) error {
	for i := range p.Status.Conditions {
		if r := &p.Status.Conditions[i]; (r.Type == corev1.PodReady || r.Type == corev1.ContainersReady) && r.Status == corev1.ConditionTrue {
			r.Status, r.Reason, r.Message = corev1.ConditionFalse, "NodeLost", "its node does not report"
			r.LastTransitionTime = metav1.NewTime(c.Clock()).Rfc3339Copy()
		}
	}
	return c.Client.Status().Update(ctx, p)
}

// mostNamed is how many pods a message names.
const mostNamed = 5

// tell writes a NodeConfig's status; left nil: there is no drain.
func (c *controller) tell(ctx context.Context, config *v1alpha1.NodeConfig, there bool, left []string) error {
	if config.Name == "" {
		return nil
	}
	next := config.DeepCopy()
	ready := metav1.Condition{Type: v1alpha1.NodeConfigReady, Status: metav1.ConditionTrue, Reason: "Applied", Message: "the node has it", ObservedGeneration: config.Generation}
	if !there {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "NoSuchNode", "there is no node of this name yet"
	}
	meta.SetStatusCondition(&next.Status.Conditions, stamped(ready, c.Clock()))
	switch {
	case left == nil && !config.Spec.Drain:
		meta.RemoveStatusCondition(&next.Status.Conditions, v1alpha1.NodeConfigDrained)
	case left != nil:
		drained := metav1.Condition{Type: v1alpha1.NodeConfigDrained, Status: metav1.ConditionTrue, Reason: "Drained", Message: "no pod is left that would move", ObservedGeneration: config.Generation}
		if len(left) > 0 {
			more := ""
			if len(left) > mostNamed {
				more = ", …"
			}
			drained.Status, drained.Reason = metav1.ConditionFalse, "Draining"
			drained.Message = fmt.Sprintf("%d left: %s%s", len(left), strings.Join(left[:min(len(left), mostNamed)], ", "), more)
		}
		meta.SetStatusCondition(&next.Status.Conditions, stamped(drained, c.Clock()))
	}
	if equality.Semantic.DeepEqual(config.Status, next.Status) {
		return nil
	}
	return client.IgnoreNotFound(c.Client.Status().Update(ctx, next))
}

func stamped(c metav1.Condition, now time.Time) metav1.Condition {
	c.LastTransitionTime = metav1.NewTime(now).Rfc3339Copy()
	return c
}
