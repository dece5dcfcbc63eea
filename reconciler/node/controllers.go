package node

import (
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what the controllers need.
type Deps struct {
	Client client.Client
	Events Recorder
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Grace is for how long a node may be silent; default 40 s. It is counted from what this process
	// has seen, never from the node's clock, and anew after a start. The pods of a node whose object is
	// removed stay as long, too.
	Grace time.Duration
}

// Controllers are those of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Grace == 0 {
		d.Grace = 40 * time.Second
	}
	c := &controller{Deps: d, index: newIndex(), seen: map[string]sight{}}
	b := &budgets{Deps: d, selectors: map[loop.Key]*policyv1.PodDisruptionBudget{}}
	return []loop.Controller{
		{
			Name: "node-care", Workers: 2, Reconcile: c.reconcile,
			Watches: []loop.Watch{
				{List: &corev1.NodeList{}, Observer: nodesOf{c.index, c}},
				{List: &v1alpha1.NodeConfigList{}},
				{List: &corev1.PodList{}, Observer: podsOf{c.index}, Keys: c.index.concerns},
				{List: &policyv1.PodDisruptionBudgetList{}, Keys: func(client.Object) []loop.Key { return c.index.draining() }},
			},
		},
		{
			Name: "disruption-budget", Workers: 2, Reconcile: b.reconcile,
			Watches: []loop.Watch{
				{List: &policyv1.PodDisruptionBudgetList{}, Observer: b},
				{List: &corev1.PodList{}, Keys: b.concerns},
			},
		},
	}
}

// index knows which pods are bound to which node, and which nodes are not as they should be.
type index struct {
	mu sync.Mutex
	// followed says that no pod is missed.
	followed bool
	on       map[string]map[loop.Key]bool
	at       map[loop.Key]string
	well     map[string]bool
	// troubled nodes are woken by each of their pods, those that drain also by each budget.
	troubled map[string]bool
	drains   map[string]bool
}

func newIndex() *index {
	return &index{on: map[string]map[loop.Key]bool{}, at: map[loop.Key]string{}, well: map[string]bool{}, troubled: map[string]bool{}, drains: map[string]bool{}}
}

// concerns: a pod of a node that needs care, and one whose node is not known.
func (x *index) concerns(o client.Object) []loop.Key {
	p, ok := o.(*corev1.Pod)
	if !ok || p.Spec.NodeName == "" {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.well[p.Spec.NodeName]; known && !x.troubled[p.Spec.NodeName] {
		return nil
	}
	return []loop.Key{{Name: p.Spec.NodeName}}
}

func (x *index) draining() []loop.Key {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []loop.Key
	for name := range x.drains {
		out = append(out, loop.Key{Name: name})
	}
	return out
}

// mark notes how a node is.
func (x *index) mark(name string, troubled, drains bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.troubled, name)
	delete(x.drains, name)
	if troubled {
		x.troubled[name] = true
	}
	if drains {
		x.drains[name] = true
	}
}

// pods are those that are bound to a node; false: it is not known yet which.
func (x *index) pods(name string) ([]loop.Key, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []loop.Key
	for key := range x.on[name] {
		out = append(out, key)
	}
	return out, x.followed
}

// storm says that no node is well, or that of more than two that are not well they are the most:
// Kubernetes' rule for when nobody is evicted (55 %).
func (x *index) storm() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	ill := 0
	for _, well := range x.well {
		if !well {
			ill++
		}
	}
	return ill == len(x.well) || ill > 2 && ill*100 >= 55*len(x.well)
}

// nodesOf follows nodes, podsOf pods.
type (
	nodesOf struct {
		*index
		of *controller
	}
	podsOf struct{ *index }
)

// Listed implements loop.Observer.
func (x nodesOf) Listed(objects []client.Object, _ string) {
	x.of.wasDeaf()
	x.mu.Lock()
	clear(x.well)
	x.mu.Unlock()
	for _, o := range objects {
		x.Saw(watch.Added, o)
	}
}

// Saw implements loop.Observer.
func (x nodesOf) Saw(event watch.EventType, o client.Object) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if event == watch.Deleted {
		delete(x.well, n.Name)
		return
	}
	x.well[n.Name] = readiness(n) == corev1.ConditionTrue
}

// Lost implements loop.Observer: what was known stays until the next list.
func (x nodesOf) Lost() {}

// Listed implements loop.Observer.
func (x podsOf) Listed(objects []client.Object, _ string) {
	x.mu.Lock()
	clear(x.on)
	clear(x.at)
	x.mu.Unlock()
	for _, o := range objects {
		x.Saw(watch.Added, o)
	}
	x.follow(true)
}

// Saw implements loop.Observer.
func (x podsOf) Saw(event watch.EventType, o client.Object) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key := client.ObjectKeyFromObject(p)
	if was, ok := x.at[key]; ok && (event == watch.Deleted || was != p.Spec.NodeName) {
		if delete(x.on[was], key); len(x.on[was]) == 0 {
			delete(x.on, was)
		}
		delete(x.at, key)
	}
	if event == watch.Deleted || p.Spec.NodeName == "" {
		return
	}
	if x.on[p.Spec.NodeName] == nil {
		x.on[p.Spec.NodeName] = map[loop.Key]bool{}
	}
	x.on[p.Spec.NodeName][key], x.at[key] = true, p.Spec.NodeName
}

// Lost implements loop.Observer.
func (x podsOf) Lost() { x.follow(false) }

func (x podsOf) follow(all bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.followed = all
}
