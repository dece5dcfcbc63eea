package reconciler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// dependency says which Application this one waits for, and why; empty: none.
func (r *Reconciler) dependency(ctx context.Context, app *v1alpha1.Application) (string, error) {
	if len(app.Spec.DependsOn) == 0 {
		return "", nil
	}
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
