package reconciler

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/live"
	"slipway.dev/slipway/state/loop"
)

// lastLook is what the last look at an Application came to.
type lastLook struct {
	// source is what it follows; seen: it was looked at.
	source types.NamespacedName
	seen   bool
	// busy: it is being looked at.
	busy bool
	// asked: an event concerns it that no look has answered yet.
	asked bool
	// commit is the newest that was looked at, or one that differs from it in nothing that
	// counts; depends is what counts.
	commit  string
	depends api.Depends
	refs    []inventoryRef
	// rests: the look found everything as it is to be, and nothing but an event or the
	// interval asks for another one.
	rests bool
	// version is the Application's own; after when the next look is due by the clock.
	version int64
	after   time.Duration
}

var applicationKind = schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: "Application"}

// restsAt says that an Application needs no look: the last one found everything as it is to
// be, no event asked for another, and nothing has moved: neither its repository, nor itself,
// nor what it owns. It reads nothing.
func (r *Reconciler) restsAt(key types.NamespacedName) (time.Duration, bool) {
	m := r.planner.memory
	k := m.of(key)
	k.mu.Lock()
	rests := k.seen && k.rests && !k.asked && r.Now().Sub(k.since) < trustFor
	l := k.lastLook
	k.asked = false
	k.mu.Unlock()
	if !rests || m.headOf(l.source).commit != l.commit {
		return 0, false
	}
	x := r.planner.index
	if s := x.Of(applicationKind, key); !s.Known || s.Version > l.version {
		return 0, false
	}
	return l.after, k.allHold(x, l.refs)
}

// allHold says that every object is as the verdict on it says.
func (k *known) allHold(x *live.Index, refs []inventoryRef) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ref := range refs {
		v, ok := k.verdicts[ref]
		s := x.Of(ref.GroupKind(), ref.key())
		if !ok || !s.Known || s.Changed > v.version {
			return false
		}
	}
	return true
}

// looking notes that a look at an Application begins.
func (r *Reconciler) looking(app *v1alpha1.Application) {
	r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) {
		k.source, k.seen, k.rests, k.commit = source(app), true, false, ""
		k.due, k.busy = 0, true
	})
}

// planned notes what a look at an Application compares with.
func (k *known) planned(d api.Depends, refs []inventoryRef) {
	k.note(func(k *known) { k.depends, k.refs = d, refs })
}

// looked notes what a look came to, and answers when the next one is due.
func (r *Reconciler) looked(app *v1alpha1.Application, res loop.Result, err error) loop.Result {
	version, ok := live.Version(app.ResourceVersion)
	rests := ok && err == nil && !app.Spec.Suspend && nothingPends(app) && len(app.Status.Overrides) == 0
	r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) {
		if k.due > 0 && (res.After == 0 || k.due < res.After) {
			res.After = k.due
		}
		k.rests, k.version, k.after, k.busy = rests, version, res.After, false
	})
	return res
}

// nothingPends says that the status tells of a commit that is applied, and of nothing else
// that is to be done.
func nothingPends(app *v1alpha1.Application) bool {
	s := &app.Status
	return s.LastAppliedCommit != "" && s.LastAppliedCommit == s.LastAttemptedCommit && s.ObservedGeneration == app.Generation &&
		s.Waiting == nil && s.Attempt == nil && len(s.Problems) == 0 && len(s.Drift) == 0 && isApplied(s)
}

// isApplied says that nothing of the commit is left to be applied, healthy or not: that is
// looked after by the loop that follows health.
func isApplied(s *v1alpha1.ApplicationStatus) bool {
	c := meta.FindStatusCondition(s.Conditions, Ready)
	return c != nil && (c.Reason == ReasonApplied || c.Reason == ReasonProgressing || c.Reason == ReasonUnhealthy)
}

// heard makes a watch note whom its events concern, so that no look that an event asks for
// is taken for one by the clock.
func (r *Reconciler) heard(w loop.Watch) loop.Watch {
	keys := w.Keys
	if keys == nil {
		keys = func(o client.Object) []loop.Key { return []loop.Key{client.ObjectKeyFromObject(o)} }
	}
	w.Keys = func(o client.Object) []loop.Key {
		list := keys(o)
		for _, key := range list {
			r.planner.memory.of(key).note(func(k *known) { k.asked = true })
		}
		return list
	}
	w.Observer = missed{w.Observer, r.planner.memory}
	return w
}

// missed asks for a look at every Application when events may have been missed.
type missed struct {
	loop.Observer
	memory *memory
}

func (l missed) Listed(objects []client.Object, resourceVersion string) {
	if l.Observer != nil {
		l.Observer.Listed(objects, resourceVersion)
	}
}

func (l missed) Saw(event watch.EventType, o client.Object) {
	if l.Observer != nil {
		l.Observer.Saw(event, o)
	}
}

func (l missed) Lost() {
	if l.Observer != nil {
		l.Observer.Lost()
	}
	l.memory.each(func(_ types.NamespacedName, k *known) { k.asked = true })
}

// each calls f for every Application, one at a time, with what is known of it locked.
func (m *memory) each(f func(types.NamespacedName, *known)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for key, k := range m.apps {
		k.note(func(k *known) { f(key, k) })
	}
}

func (m *memory) headOf(repository types.NamespacedName) head {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.heads[repository]
}

// restless are the Applications of a repository that are not at rest.
func (m *memory) restless(repository types.NamespacedName) (keys []loop.Key) {
	m.each(func(key types.NamespacedName, k *known) {
		if k.source == repository && !k.rests {
			keys = append(keys, key)
		}
	})
	return keys
}

// move notes a repository's new head and answers with the Applications that are to be looked
// at. Those that c does not touch are at the new head without a look; nil: it is not known
// whom it touches.
func (m *memory) move(repository types.NamespacedName, to head, c *changed) (keys []loop.Key) {
	m.mu.Lock()
	from := m.heads[repository]
	m.heads[repository] = to
	m.mu.Unlock()
	m.each(func(key types.NamespacedName, k *known) {
		if k.source != repository {
			return
		}
		if c != nil && k.rests && k.commit == from.commit && len(k.depends.Folders) > 0 && !c.touches(k.depends) {
			k.commit = to.commit
			return
		}
		k.asked = true
		keys = append(keys, key)
	})
	return keys
}

// forget drops what is known of an Application that is gone.
func (r *Reconciler) forget(key types.NamespacedName, err error) {
	if client.IgnoreNotFound(err) == nil {
		r.planner.memory.forget(key)
		r.planner.records.forget(key)
	}
}
