package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// begin writes down, in one write and before anything is touched, what the plan is about to
// make the Application own, and the record that its end will leave. A process that dies from
// here on loses neither an object nor the record.
func (r *Reconciler) begin(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, reason string, started time.Time) error {
	attempt, err := r.earlier(ctx, app, rev)
	if err != nil {
		return err
	}
	if attempt == nil && !plan.Empty() {
		attempt = &v1alpha1.Attempt{Record: recordName(app, rev.Commit, reason, plan), Spec: recordOf(app, rev, plan, reason, started)}
		r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) { k.began, k.beganAt = attempt.Record, started })
	}
	known := r.planner.memory.of(client.ObjectKeyFromObject(app))
	var broken error
	err = r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
		broken = known.claim(s, plan.inventory)
		s.Attempt = attempt
	})
	return cmp.Or(err, broken)
}

// earlier is the attempt at the same commit that is not recorded yet, and is gone on with.
// One at another commit was overtaken: its record says so.
func (r *Reconciler) earlier(ctx context.Context, app *v1alpha1.Application, rev api.Revision) (*v1alpha1.Attempt, error) {
	a := app.Status.Attempt
	if a == nil || r.planner.memory.wrote(app, a.Record) {
		return nil, nil
	}
	if !r.planner.memory.announced(app, a.Record) {
		var written v1alpha1.Record
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: a.Record}, &written)
		if err == nil {
			return nil, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read record %s: %w", a.Record, err)
		}
	}
	if a.Spec.Commit == rev.Commit {
		return a, nil
	}
	spec := a.Spec
	spec.Outcome, spec.Detail = OutcomeFailed, "broken off, and overtaken by "+Short(rev.Commit)
	return nil, r.writeRecord(ctx, app, a.Record, spec)
}

// unrecorded says that an apply at a commit ended, or broke off, without its record.
func unrecorded(app *v1alpha1.Application, commit string) bool {
	a := app.Status.Attempt
	return a != nil && a.Spec.Commit == commit
}

// carryThrough begins, applies and records a plan that leaves the status otherwise as it is:
// one that keeps live state at a commit which is not the newest.
func (r *Reconciler) carryThrough(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, reason string, started time.Time) error {
	if err := r.begin(ctx, app, rev, plan, reason, started); err != nil {
		return err
	}
	err := r.planner.apply(ctx, plan)
	if err := r.record(ctx, app, rev, plan, reason, started, err); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) { s.Attempt = nil })
}

// announced says that this process announced a record; began, that it did so in the look
// that started then; wrote, that it wrote it.
func (m *memory) announced(app *v1alpha1.Application, record string) (yes bool) {
	m.of(client.ObjectKeyFromObject(app)).note(func(k *known) { yes = k.began == record })
	return yes
}

func (m *memory) began(app *v1alpha1.Application, record string, started time.Time) (yes bool) {
	m.of(client.ObjectKeyFromObject(app)).note(func(k *known) { yes = k.began == record && k.beganAt.Equal(started) })
	return yes
}

func (m *memory) wrote(app *v1alpha1.Application, record string) (yes bool) {
	m.of(client.ObjectKeyFromObject(app)).note(func(k *known) { yes = k.wrote == record })
	return yes
}

// note changes or reads what is known.
func (k *known) note(f func(*known)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k)
}
