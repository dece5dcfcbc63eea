package reconciler

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// finalize does with a deleted Application's objects what its deletionPolicy says, then
// lets it go. An Application that others depend on goes after them.
func (r *Reconciler) finalize(ctx context.Context, app *v1alpha1.Application) (loop.Result, error) {
	again := loop.Result{After: interval(app)}
	if !controllerutil.ContainsFinalizer(app, Finalizer) {
		return loop.Result{}, nil
	}
	waits, err := r.dependentsOf(ctx, app)
	if err != nil {
		return again, err
	}
	if waits != "" {
		return again, r.report(ctx, app, false, ReasonDependency, "is deleted after "+waits+", which depends on it")
	}
	a, err := r.tearDown(ctx, app)
	if err != nil {
		return again, err
	}
	if a.waits != "" {
		return again, r.report(ctx, app, false, ReasonTerminating, a.waits)
	}
	controllerutil.RemoveFinalizer(app, Finalizer)
	return loop.Result{}, client.IgnoreNotFound(r.Client.Update(ctx, app))
}

// dependentsOf names an Application that depends on this one; empty: none does. Whether
// that one is being deleted makes no difference: while it says that it needs this one, it has it.
func (r *Reconciler) dependentsOf(ctx context.Context, app *v1alpha1.Application) (string, error) {
	var all v1alpha1.ApplicationList
	if err := r.Client.List(ctx, &all, client.InNamespace(app.Namespace)); err != nil {
		return "", fmt.Errorf("read the applications: %w", err)
	}
	for _, other := range all.Items {
		// Of two that depend on each other none would ever go.
		mutual := other.DeletionTimestamp != nil && dependsOn(app, other.Name)
		if other.Name != app.Name && dependsOn(&other, app.Name) && !mutual {
			return "application " + other.Name, nil
		}
	}
	return "", nil
}

func dependsOn(app *v1alpha1.Application, name string) bool {
	return slices.ContainsFunc(app.Spec.DependsOn, func(d corev1.LocalObjectReference) bool { return d.Name == name })
}

// leavesAll says that the Application's objects stay when it is deleted.
func leavesAll(app *v1alpha1.Application) bool {
	policy := app.Spec.DeletionPolicy
	return policy == v1alpha1.DeletionOrphan || app.Spec.Prune != nil && !*app.Spec.Prune && policy != v1alpha1.DeletionDelete && policy != v1alpha1.DeletionWaitForTermination
}

// tearDown deletes the Application's objects as its policy says, in the reverse of the order
// in which they were made.
func (r *Reconciler) tearDown(ctx context.Context, app *v1alpha1.Application) (advance, error) {
	var a advance
	if leavesAll(app) {
		return a, r.abandon(ctx, app)
	}
	all := app.DeepCopy()
	all.Spec.Prune = nil
	plan := &Plan{Application: app.Name}
	if err := r.planner.planPrune(ctx, all, plan); err != nil {
		return a, err
	}
	switch last, err := r.leave(ctx, app, plan); {
	case err != nil || last == leaveAll:
		return a, err
	case last == notYet:
		a.waits = app.Status.Waiting.Message
		return a, nil
	}
	if err := r.pruneInTurn(ctx, plan, &a); err != nil || a.waits != "" {
		return a, err
	}
	if app.Spec.DeletionPolicy == v1alpha1.DeletionWaitForTermination {
		a.waits = plan.stillGoing(turn{stage: api.StagePolicy - 1})
	}
	return a, nil
}

// abandon takes the owner's labels off the objects, so that another Application may take
// them over. They stay otherwise as they are.
func (r *Reconciler) abandon(ctx context.Context, app *v1alpha1.Application) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:null,%q:null}}}`, OwnerName, OwnerNamespace))
	inventory, err := api.Inventory(&app.Status)
	if err != nil {
		return fmt.Errorf("inventory of application %s: %w", app.Name, err)
	}
	for _, e := range inventory {
		ref, err := parseEntry(e)
		if err != nil {
			return fmt.Errorf("inventory of application %s: %w", app.Name, err)
		}
		live, err := r.planner.live(ctx, ref)
		if err != nil {
			return err
		}
		if live == nil || !ownedBy(live, app) {
			continue
		}
		if err := r.Client.Patch(ctx, live, patch); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("let go of %s: %w", api.ObjectName(live), err)
		}
	}
	return nil
}
