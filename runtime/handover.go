package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	selectors "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// Follower is what leads requests to pods on this node, and follows the Endpoints of services: the
// node's service rules, a router.
type Follower interface {
	// Follows says whether it leads where the service's Endpoints led at the revision, or at a later
	// one. It waits for nothing.
	Follows(service types.NamespacedName, revision uint64) bool
}

// handOverMost bounds how long a pod that is to go waits until nothing leads to it any more. A
// shorter grace period bounds it further.
const handOverMost = 30 * time.Second

// untilStop is how long a pod that is being deleted goes on as it is: until nothing leads to
// it and what was under way has arrived, but no longer than its grace period.
func (w World) untilStop(grace time.Duration) time.Duration {
	stop := w.DeletionSeen.Add(min(grace, handOverMost))
	if drained := w.HandedOver.Add(w.Drain); !w.HandedOver.IsZero() && drained.Before(stop) {
		stop = drained
	}
	return stop.Sub(w.Now)
}

// departure is what is known of a pod that is to go, of who may still lead to it.
type departure struct {
	UID types.UID
	// Named are services whose Endpoints name the pod still, and Left the revisions from which those
	// of the others do not.
	Named []string
	Left  map[string]uint64
	// Behind are the services that something on this node does not follow that far.
	Behind []string
	// Nodes are all there are, and Own the name of this one.
	Nodes []corev1.Node
	Own   string
}

// holders says who still leads to the pod, or may; nobody: it can be stopped.
func (d departure) holders() (all []string) {
	for _, s := range d.Named {
		all = append(all, "Endpoints "+s)
	}
	for _, s := range d.Behind {
		all = append(all, "this node's rules for Service "+s)
	}
	for _, n := range d.silent() {
		all = append(all, "node "+n)
	}
	return all
}

// silent are the other nodes that have not said that nothing there leads to the pod. Those
// that are not ready do not count, nor do those that never say so: an older agent, or none.
func (d departure) silent() (all []string) {
	if len(d.Left) == 0 {
		return nil // no service has led to it
	}
	for i := range d.Nodes {
		n := &d.Nodes[i]
		answer, says := nodeCondition(n, api.HandOver)
		ready, _ := nodeCondition(n, corev1.NodeReady)
		if n.Name != d.Own && says && ready.Status == corev1.ConditionTrue && !slices.Contains(strings.Split(answer.Message, ","), string(d.UID)) {
			all = append(all, n.Name)
		}
	}
	return all
}

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) (corev1.NodeCondition, bool) {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return corev1.NodeCondition{}, false
}

// handOverController asks who still leads to the pods of this node that are to go, and answers
// other nodes that ask the same.
func (a *Agent) handOverController() loop.Controller {
	return loop.Controller{
		Name: "hand-over", Workers: 4, Reconcile: a.reconcileHandOver,
		Watches: []loop.Watch{{List: &corev1.PodList{}, Keys: func(o client.Object) []loop.Key {
			pod, ok := o.(*corev1.Pod)
			if !ok {
				return nil
			}
			_, asks := askOf(pod)
			here := pod.Spec.NodeName == a.Node
			if going := pod.DeletionTimestamp != nil; going && (here || asks) || !going && here && isReady(pod) && !a.noted(pod.UID) {
				return []loop.Key{client.ObjectKeyFromObject(o)}
			}
			return nil
		}}},
	}
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// noted says whether it is known which services lead to a pod.
func (a *Agent) noted(uid types.UID) (yes bool) {
	a.recall(uid, func(m *memory) { yes = m.behind != nil })
	return yes
}

func (a *Agent) reconcileHandOver(ctx context.Context, key loop.Key) (loop.Result, error) {
	var pod corev1.Pod
	err := a.Client.Get(ctx, key, &pod)
	switch {
	case apierrors.IsNotFound(err):
		a.answers.drop(key)
		return loop.Result{}, nil
	case err != nil:
		return loop.Result{}, err
	case pod.Spec.NodeName != a.Node:
		return a.answer(&pod), nil
	case pod.DeletionTimestamp == nil:
		return loop.Result{}, a.noteServices(ctx, &pod)
	}
	return a.handOver(ctx, &pod)
}

// noteServices remembers which services lead to a pod: when it is to go, some may lead
// elsewhere already, and other nodes may not have heard of that.
func (a *Agent) noteServices(ctx context.Context, pod *corev1.Pod) error {
	var services corev1.ServiceList
	var endpoints corev1.EndpointsList
	for _, list := range []client.ObjectList{&services, &endpoints} {
		if err := a.Client.List(ctx, list, client.InNamespace(pod.Namespace)); err != nil {
			return err
		}
	}
	found := map[string]bool{}
	for _, s := range services.Items {
		if len(s.Spec.Selector) > 0 && selectors.SelectorFromSet(s.Spec.Selector).Matches(selectors.Set(pod.Labels)) {
			found[s.Name] = true
		}
	}
	for i := range endpoints.Items {
		if names(&endpoints.Items[i], pod) {
			found[endpoints.Items[i].Name] = true
		}
	}
	a.recall(pod.UID, func(m *memory) {
		if m.behind == nil {
			m.behind = map[string]bool{}
		}
		maps.Copy(m.behind, found)
	})
	return nil
}

// names says whether Endpoints lead to a pod.
func names(e *corev1.Endpoints, pod *corev1.Pod) bool {
	for _, subset := range e.Subsets {
		for _, a := range subset.Addresses {
			if a.TargetRef != nil && a.TargetRef.UID == pod.UID || a.TargetRef == nil && a.IP == pod.Status.PodIP {
				return true
			}
		}
	}
	return false
}

// handOver finds out whether a pod that is to go may be stopped now.
func (a *Agent) handOver(ctx context.Context, pod *corev1.Pod) (loop.Result, error) {
	now := a.Clock()
	var since time.Time
	var first, over bool
	known := a.recall(pod.UID, func(m *memory) {
		first, over = m.left == nil, !m.handedOver.IsZero()
		since = m.deletionSeen
	})
	switch {
	case over, ended(pod):
		return loop.Result{}, nil
	case !known, since.IsZero(): // The agent is about to see that it is to go, or to forget it.
		return loop.Result{After: 100 * time.Millisecond}, nil
	}
	if first {
		if err := a.noteServices(ctx, pod); err != nil {
			return loop.Result{}, err
		}
	}
	d, err := a.departing(ctx, pod)
	if err != nil {
		return loop.Result{}, err
	}
	holders, news := d.holders(), false
	a.recall(pod.UID, func(m *memory) {
		if len(d.Named) == 0 && len(d.silent()) > 0 && m.ask == "" {
			m.ask, news = question(d.Left), true
		}
		if len(holders) == 0 {
			m.handedOver, news = now, true
		}
		m.holders = holders
	})
	if news {
		a.wakeAll(ctx, []loop.Key{client.ObjectKeyFromObject(pod)})
	}
	if len(holders) == 0 || now.Sub(since) >= min(graceOf(pod), handOverMost) {
		return loop.Result{}, nil
	}
	return loop.Result{After: pace(now.Sub(since))}, nil
}

// departing looks at everything that [departure.holders] depends on.
func (a *Agent) departing(ctx context.Context, pod *corev1.Pod) (departure, error) {
	d := departure{UID: pod.UID, Own: a.Node, Left: map[string]uint64{}}
	var behind []string
	a.recall(pod.UID, func(m *memory) {
		maps.Copy(d.Left, m.left)
		behind = slices.Sorted(maps.Keys(m.behind))
	})
	for _, s := range behind {
		name := types.NamespacedName{Namespace: pod.Namespace, Name: s}
		if _, known := d.Left[s]; !known {
			var e corev1.Endpoints
			if err := a.Client.Get(ctx, name, &e); apierrors.IsNotFound(err) {
				continue // nothing leads there
			} else if err != nil {
				return d, err
			}
			if names(&e, pod) {
				d.Named = append(d.Named, s)
				continue
			}
			revision, err := strconv.ParseUint(e.ResourceVersion, 10, 64)
			if err != nil {
				return d, fmt.Errorf("endpoints %s: resourceVersion: %w", name, err)
			}
			d.Left[s] = revision
		}
		if slices.ContainsFunc(a.Followers, func(f Follower) bool { return !f.Follows(name, d.Left[s]) }) {
			d.Behind = append(d.Behind, s)
		}
	}
	a.recall(pod.UID, func(m *memory) { m.left = maps.Clone(d.Left) })
	if len(d.Named) > 0 || len(d.Left) == 0 {
		return d, nil
	}
	var nodes corev1.NodeList
	if err := a.Client.List(ctx, &nodes); err != nil {
		return d, err
	}
	d.Nodes = nodes.Items
	return d, nil
}

// pace is when to look again at what was waited for that long: soon at first.
func pace(waited time.Duration) time.Duration {
	return max(5*time.Millisecond, min(waited/4, 250*time.Millisecond))
}
