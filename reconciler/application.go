package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
	"slipway.dev/slipway/state/loop"
)

// Finalizer keeps a deleted Application until what it made is pruned.
const Finalizer = "slipway.dev/application"

// The condition types and reasons of an Application.
const (
	Ready = "Ready"

	ReasonApplied       = "ReconciliationSucceeded"
	ReasonSource        = "ArtifactFailed"
	ReasonRender        = "BuildFailed"
	ReasonInvalid       = "ValidationFailed"
	ReasonApply         = "ReconciliationFailed"
	ReasonDependency    = "DependencyNotReady"
	ReasonDriftReported = "DriftReported"
)

// Events tells people what happened.
type Events interface {
	Event(o client.Object, eventtype, reason, format string, args ...any)
}

// Reconciler follows Applications.
type Reconciler struct {
	Client  client.WithWatch
	Sources Sources
	Render  Renderer
	Events  Events
	Log     *slog.Logger
	// Registry is the integrated registry's host and port, by which images of other
	// projects are told.
	Registry string
	// Applier applies many objects at once; nil: they are applied one at a time.
	Applier Applier
	// History finds approvals; nil: only the newest commit can approve.
	History History
	// Merges previews the merge of a branch; nil: the branch as it is.
	Merges Merger
	// Target is another cluster's API that gets what Applications declare, as far as it serves
	// it; nil: live state. Slipway's own kinds stay in live state.
	Target client.Client
	// Now is the clock; default time.Now.
	Now func() time.Time

	planner *planner
}

// Controllers are the loops that follow Applications.
func (r *Reconciler) Controllers() []loop.Controller {
	if r.Now == nil {
		r.Now = time.Now
	}
	r.planner = newPlanner(r.Client, r.Applier, r.Now)
	if r.Target != nil {
		r.planner = newPlanner(divided{r.Client, r.Target}, nil, r.Now)
	}
	wake := make(chan loop.Key)
	watches := append(append(driftWatches(r.planner.index), overrideWatch(), newDependents().watch()), append(r.accessWatches(), r.constraintWatches()...)...)
	for i, w := range watches {
		watches[i] = r.heard(w)
	}
	return []loop.Controller{r.vitals(wake), r.revisions(wake), {
		Name: "application",
		// Most of the time they wait for a renderer: some that are slow must not hold up all.
		Workers:   32,
		Watches:   watches,
		Wake:      wake,
		Reconcile: r.Reconcile,
	}, r.overrideController()}
}

// Reconcile makes live state follow one Application.
func (r *Reconciler) Reconcile(ctx context.Context, key types.NamespacedName) (res loop.Result, err error) {
	if after, rests := r.restsAt(key); rests {
		return loop.Result{After: after}, nil
	}
	app := &v1alpha1.Application{}
	if err := r.Client.Get(ctx, key, app); err != nil {
		r.forget(key, err)
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	r.looking(app)
	defer func() { res = r.looked(app, res, err) }()
	if app.DeletionTimestamp != nil {
		return r.finalize(ctx, app)
	}
	if suspended, left := gate.Suspended(app.Spec.Suspend, app.Spec.SuspendUntil, r.Now()); suspended {
		return loop.Result{After: left}, nil
	}
	if controllerutil.AddFinalizer(app, Finalizer) {
		if err := r.Client.Update(ctx, app); err != nil {
			return loop.Result{}, err
		}
	}
	rev, err := r.Sources.Revision(ctx, source(app))
	if err != nil {
		return r.again(ctx, app), errors.Join(r.report(ctx, app, false, ReasonSource, err.Error()), r.keepLast(ctx, app, rev, r.Now()))
	}
	if ready, again, err := r.dependencies(ctx, app, rev.Commit); err != nil || !ready {
		return again, err
	}
	r.planner.memory.of(key).note(func(k *known) { k.commit = rev.Commit })
	err = r.converge(ctx, app, rev)
	return r.again(ctx, app), err
}

func interval(app *v1alpha1.Application) time.Duration {
	if app.Spec.Interval != nil && app.Spec.Interval.Duration > 0 {
		return app.Spec.Interval.Duration
	}
	return time.Minute
}

// converge plans and applies an Application at a revision. Where the revision has
// mistakes they are reported, and live state is kept at the last good one.
func (r *Reconciler) converge(ctx context.Context, app *v1alpha1.Application, rev api.Revision) error {
	started := r.Now()
	plan, err := r.Plan(ctx, app, rev, true)
	problems, bad := asProblems(err)
	if err != nil && !bad {
		return err
	}
	if err == nil {
		if rev, err = r.where(ctx, app, rev, plan); err != nil {
			return err
		}
		if waits, err := r.gates(ctx, app, rev, plan, started); waits || err != nil {
			return err
		}
		return r.carryOut(ctx, app, rev, plan, started)
	}
	if err := r.refuse(ctx, app, rev, problems); err != nil {
		return err
	}
	good := app.Status.LastAppliedCommit
	if good == "" || good == rev.Commit {
		return nil
	}
	return r.keepAt(ctx, app, good, started)
}

// Plan renders an Application at a revision and compares it with live state. Mistakes
// come back as api.Problems, together with the plan as far as it could be made.
func (r *Reconciler) Plan(ctx context.Context, app *v1alpha1.Application, rev api.Revision, persist bool) (*Plan, error) {
	return r.plan(ctx, app, rev, persist, func(ctx context.Context, app *v1alpha1.Application, rev api.Revision) (api.Desired, error) {
		return desired(ctx, r.Render, app, rev, persist)
	})
}

// rendered renders an Application at a revision.
type rendered func(ctx context.Context, app *v1alpha1.Application, rev api.Revision) (api.Desired, error)

func (r *Reconciler) plan(ctx context.Context, app *v1alpha1.Application, rev api.Revision, persist bool, render rendered) (*Plan, error) {
	want, err := r.permitted(ctx, app, rev, render)
	if err != nil {
		if problems, ok := asProblems(err); ok {
			return &Plan{Application: app.Name, Path: app.Spec.Path, Commit: rev.Commit, Live: app.Status.LastAppliedCommit, Problems: problems}, err
		}
		return nil, fmt.Errorf("render application %s: %w", app.Name, err)
	}
	want, passage, err := r.overridden(ctx, app, want)
	if err != nil {
		return nil, err
	}
	want, unserved, err := r.forTarget(want)
	if err != nil {
		return nil, err
	}
	plan, err := r.planner.plan(ctx, app, rev, want)
	if err != nil {
		return nil, err
	}
	plan.unserved = unserved
	plan.passage, plan.depends = passage, want.Depends
	if persist {
		r.planner.memory.of(client.ObjectKeyFromObject(app)).planned(follows(app, want.Depends), plan.inventory)
	}
	if err := plan.readHolds(app, rev); err != nil {
		return nil, err
	}
	plan.addWaves(want.Objects)
	if err := r.authorizeSteps(ctx, app, plan); err != nil {
		return nil, err
	}
	if err := r.admit(ctx, plan); err != nil {
		return nil, err
	}
	if len(plan.Problems) > 0 {
		return plan, api.Problems(plan.Problems)
	}
	return plan, nil
}

func (r *Reconciler) carryOut(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, started time.Time) error {
	drifted := app.Status.LastAppliedCommit == rev.Commit && app.Status.ObservedGeneration == app.Generation && !plan.Empty()
	if drifted && moved(app, plan) {
		return r.override(ctx, app, rev, plan, started)
	}
	if drifted && app.Spec.Drift == v1alpha1.DriftReport {
		r.Events.Event(app, "Warning", "Drift", "%s", summary(plan))
		return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
			s.Drift = driftLines(plan)
			setReady(s, app.Generation, true, ReasonDriftReported, "live state differs from git: "+summary(plan))
		})
	}
	if drifted {
		r.holdContested(app, plan)
		drifted = !plan.Empty()
	}
	reason := ReasonCommit
	if drifted {
		reason = ReasonDrift
	}
	if err := r.begin(ctx, app, rev, plan, reason, started); err != nil {
		return err
	}
	done, err := r.carry(ctx, app, plan, drifted)
	if err != nil {
		r.Events.Event(app, "Warning", ReasonApply, "%s: %v", Short(rev.Commit), err)
		_ = r.report(ctx, app, false, ReasonApply, err.Error())
		return errors.Join(err, r.record(ctx, app, rev, plan, reason, started, err))
	}
	if done.waits != "" {
		return r.await(ctx, app, rev, plan, done, started)
	}
	switch {
	case drifted:
		r.repaired(app, plan)
		r.Events.Event(app, "Warning", "DriftCorrected", "changed by hand, put back to %s: %s", Short(rev.Commit), summary(plan))
	case !plan.Empty():
		r.Events.Event(app, "Normal", "Applied", "%s: %s", Short(rev.Commit), summary(plan))
	}
	if !plan.Empty() || unrecorded(app, rev.Commit) {
		if err := r.record(ctx, app, rev, plan, reason, started, nil); err != nil {
			return err
		}
	}
	return r.settle(ctx, app, rev, plan)
}

// keepAt repairs drift from the last good commit while a newer one has mistakes.
func (r *Reconciler) keepAt(ctx context.Context, app *v1alpha1.Application, commit string, started time.Time) error {
	rev, err := r.Sources.RevisionAt(ctx, source(app), commit)
	if err != nil {
		return fmt.Errorf("last good commit %s of application %s: %w", Short(commit), app.Name, err)
	}
	plan, err := r.Plan(ctx, app, rev, true)
	if err != nil {
		return err
	}
	plan.onlyRepair()
	if moved(app, plan) {
		return r.override(ctx, app, rev, plan, started)
	}
	if r.holdContested(app, plan); plan.Empty() || app.Spec.Drift == v1alpha1.DriftReport {
		return nil
	}
	if err := r.carryThrough(ctx, app, rev, plan, ReasonDrift, started); err != nil {
		return err
	}
	r.repaired(app, plan)
	r.Events.Event(app, "Warning", "DriftCorrected", "changed by hand, put back to %s: %s", Short(commit), summary(plan))
	return nil
}

// summary names the plan's objects and fields in one line.
func summary(plan *Plan) string {
	var parts []string
	for _, s := range plan.Steps {
		part := string(s.Action) + " " + s.Object
		if len(s.Fields) > 0 {
			f := s.Fields[0]
			part += fmt.Sprintf(" %s %s → %s", f.Path, orNone(f.Old), orNone(f.New))
			if len(s.Fields) > 1 {
				part += fmt.Sprintf(" and %d more", len(s.Fields)-1)
			}
		}
		parts = append(parts, part)
	}
	const shown = 8
	if n := len(parts); n > shown {
		parts = append(slices.Clone(parts[:shown]), fmt.Sprintf("and %d more", n-shown))
	}
	return strings.Join(parts, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
