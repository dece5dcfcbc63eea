package reconciler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
	"slipway.dev/slipway/state/loop"
)

// lookAgain is how soon a dependency is looked at again that is about to look at the newest
// commit: its end may change nothing that would wake anybody.
const lookAgain = 50 * time.Millisecond

// dependencies looks at what an Application depends on. It says false, and when to look again, where one of
// them is not ready, or has a newer commit of the same repository before it: a commit reaches
// a dependency first.
func (r *Reconciler) dependencies(ctx context.Context, app *v1alpha1.Application, commit string) (bool, loop.Result, error) {
	if len(app.Spec.DependsOn) == 0 {
		return true, loop.Result{}, nil
	}
	again := loop.Result{After: interval(app)}
	behind := false
	for _, d := range app.Spec.DependsOn {
		// Before it is read how they do: a look that ends in between is in what is read then.
		b, err := r.behind(ctx, app, d.Name, commit)
		if err != nil {
			return false, again, err
		}
		behind = behind || b
	}
	waits, err := r.dependency(ctx, app)
	switch {
	case err != nil:
		return false, again, err
	case waits != "":
		return false, again, r.report(ctx, app, false, ReasonDependency, waits)
	case behind:
		return false, loop.Result{After: lookAgain}, nil
	}
	return true, loop.Result{}, nil
}

// behind says that an Application is about to look at a commit of the repository that it
// shares with one that depends on it. A suspended one, and one that somebody holds, are
// where they are meant to be.
func (r *Reconciler) behind(ctx context.Context, app *v1alpha1.Application, name, commit string) (bool, error) {
	key := types.NamespacedName{Namespace: app.Namespace, Name: name}
	other, err := r.application(ctx, key)
	if err != nil || other == nil || source(other) != source(app) || other.DeletionTimestamp != nil || other.Status.Waiting != nil {
		return false, err
	}
	if suspended, _ := gate.Suspended(other.Spec.Suspend, other.Spec.SuspendUntil, r.Now()); suspended {
		return false, nil
	}
	behind := false
	r.planner.memory.of(key).note(func(k *known) { behind = !k.seen || k.busy || k.commit != commit })
	return behind, nil
}

// dependency says which Application this one waits for, and why; empty: none.
func (r *Reconciler) dependency(ctx context.Context, app *v1alpha1.Application) (string, error) {
	if cycle, err := r.cycle(ctx, app); err != nil || cycle != "" {
		return cycle, err
	}
	for _, d := range app.Spec.DependsOn {
		other, err := r.application(ctx, types.NamespacedName{Namespace: app.Namespace, Name: d.Name})
		switch {
		case err != nil:
			return "", err
		case other == nil:
			return "waits for application " + d.Name + ", which does not exist", nil
		case other.DeletionTimestamp != nil:
			return "waits for application " + d.Name + ", which is being deleted", nil
		}
		if c := meta.FindStatusCondition(other.Status.Conditions, Ready); c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration < other.Generation {
			return "waits for application " + d.Name, nil
		}
		if w := other.Status.Waiting; w != nil && w.Reason != WaitHold && source(other) == source(app) {
			return "waits for application " + d.Name + ", which waits itself: " + w.Reason, nil
		}
	}
	return "", nil
}

func (r *Reconciler) application(ctx context.Context, key types.NamespacedName) (*v1alpha1.Application, error) {
	var app v1alpha1.Application
	if err := r.Client.Get(ctx, key, &app); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	return &app, nil
}

// cycle finds a way along dependsOn that leads back to where it began. Nothing on it could
// ever be applied.
func (r *Reconciler) cycle(ctx context.Context, app *v1alpha1.Application) (string, error) {
	seen := map[string]bool{}
	var walk func(path []string, from *v1alpha1.Application) (string, error)
	walk = func(path []string, from *v1alpha1.Application) (string, error) {
		for _, d := range from.Spec.DependsOn {
			if d.Name == app.Name {
				return "depends on itself: " + strings.Join(append(path, d.Name), " → "), nil
			}
			if seen[d.Name] {
				continue
			}
			seen[d.Name] = true
			next, err := r.application(ctx, types.NamespacedName{Namespace: app.Namespace, Name: d.Name})
			if err != nil {
				return "", err
			}
			if next == nil {
				continue
			}
			if found, err := walk(append(slices.Clone(path), d.Name), next); err != nil || found != "" {
				return found, err
			}
		}
		return "", nil
	}
	return walk([]string{app.Name}, app)
}

// dependents knows which Applications depend on which, as far as the watch has told. It
// decides only who is woken: an Application that is not known yet is about to be woken by
// the event that makes it known.
type dependents struct {
	mu    sync.Mutex
	needs map[types.NamespacedName][]types.NamespacedName
	ready map[types.NamespacedName]bool
}

func newDependents() *dependents {
	return &dependents{needs: map[types.NamespacedName][]types.NamespacedName{}, ready: map[types.NamespacedName]bool{}}
}

// watch wakes the Applications that depend on one that became ready or ceased to be, and
// those that one which is gone depended on: they may go, too.
func (d *dependents) watch() loop.Watch {
	return loop.Watch{List: &v1alpha1.ApplicationList{}, Keys: d.keys, Skip: d.skip}
}

func (d *dependents) skip(event watch.EventType, o client.Object) bool {
	app, ok := o.(*v1alpha1.Application)
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := client.ObjectKeyFromObject(app)
	if event == watch.Deleted {
		delete(d.ready, key)
		return false
	}
	was, known := d.ready[key]
	now := isReady(app) && app.DeletionTimestamp == nil
	return known && was == now && slices.Equal(d.needs[key], needsOf(app))
}

func isReady(app *v1alpha1.Application) bool {
	c := meta.FindStatusCondition(app.Status.Conditions, Ready)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration >= app.Generation
}

func needsOf(app *v1alpha1.Application) []types.NamespacedName {
	var out []types.NamespacedName
	for _, n := range app.Spec.DependsOn {
		out = append(out, types.NamespacedName{Namespace: app.Namespace, Name: n.Name})
	}
	return out
}

func (d *dependents) keys(o client.Object) []loop.Key {
	app, ok := o.(*v1alpha1.Application)
	if !ok {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := client.ObjectKeyFromObject(app)
	was, known := d.needs[key]
	d.needs[key], d.ready[key] = needsOf(app), isReady(app) && app.DeletionTimestamp == nil
	keys := map[loop.Key]bool{}
	d.above(key, !known || !slices.Equal(was, d.needs[key]), keys)
	if app.DeletionTimestamp != nil {
		for _, n := range d.needs[key] {
			keys[n] = true
		}
	}
	return slices.Collect(maps.Keys(keys))
}

// above adds the Applications that depend on one; where all is set those, too, that depend
// on them: a new dependency may close a circle.
func (d *dependents) above(key types.NamespacedName, all bool, keys map[loop.Key]bool) {
	for other, needs := range d.needs {
		if keys[other] || !slices.Contains(needs, key) {
			continue
		}
		keys[other] = true
		if all {
			d.above(other, all, keys)
		}
	}
}
