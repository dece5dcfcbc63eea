package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

const (
	// maxRecords is how many Records are kept for each Application.
	maxRecords = 100
	// maxPlanText is how many bytes of a plan a Record keeps.
	maxPlanText = 16 << 10
	// maxImages is how many images a Record lists.
	maxImages = 100
)

// The reasons of a Record.
const (
	ReasonCommit = "Commit"
	ReasonDrift  = "Drift"
)

// The outcomes of a Record.
const (
	OutcomeApplied = "Applied"
	OutcomeFailed  = "Failed"
)

// recordName follows from what is done to which state of live objects at which commit: an
// attempt that is repeated finds its own record, and doing the same another time, to other
// states, makes another.
func recordName(app *v1alpha1.Application, commit, reason string, plan *Plan) string {
	lines := []string{plan.Digest(), commit, reason}
	for _, s := range plan.Steps {
		version := ""
		if s.live != nil {
			version = string(s.live.GetUID()) + " " + s.live.GetResourceVersion()
		}
		lines = append(lines, s.Object+" "+version)
	}
	slices.Sort(lines[3:])
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	// A name has up to 253 characters, and "-failed" may follow.
	return fmt.Sprintf("%s-%s-%s", cut(app.Name, 200), Short(commit), hex.EncodeToString(sum[:6]))
}

// recordOf is what is known of an apply before it begins.
func recordOf(app *v1alpha1.Application, rev api.Revision, plan *Plan, reason string, started time.Time) v1alpha1.RecordSpec {
	return v1alpha1.RecordSpec{
		Application: app.Name, Repository: rev.Repository, Commit: rev.Commit, Author: rev.Author, Message: rev.Message,
		Previous: app.Status.LastAppliedCommit, Path: app.Spec.Path, Digest: plan.Digest(), ApprovedBy: plan.approvedBy,
		Images: imagesOf(plan.Steps), Reason: reason, Started: metav1.NewTime(started), Outcome: OutcomeApplied,
		Created: plan.Count(Create), Changed: plan.Count(Change), Pruned: plan.Count(Prune), Plan: cut(plan.text(maxPlanText), maxPlanText),
	}
}

// record writes down what was applied. What an earlier look announced, and did not come to
// the end of, keeps the name and the content that were announced.
func (r *Reconciler) record(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, reason string, started time.Time, failure error) error {
	var name string
	var spec v1alpha1.RecordSpec
	a := app.Status.Attempt
	announced := a != nil && a.Spec.Commit == rev.Commit && !r.planner.memory.wrote(app, a.Record)
	now := announced && r.planner.memory.began(app, a.Record, started)
	switch {
	case now && len(plan.Steps) == a.Spec.Created+a.Spec.Changed+a.Spec.Pruned:
		name, spec = a.Record, a.Spec
		spec.Started = metav1.NewTime(started)
	case now:
		// A part of what was announced; the rest is announced anew.
		name, spec = a.Record, recordOf(app, rev, plan, reason, started)
	case announced:
		name, spec = a.Record, a.Spec
	default:
		name, spec = recordName(app, rev.Commit, reason, plan), recordOf(app, rev, plan, reason, started)
	}
	spec.Milliseconds = max(r.Now().Sub(spec.Started.Time).Milliseconds(), 0)
	if failure != nil {
		name += "-failed"
		spec.Outcome, spec.Detail = OutcomeFailed, cut(failure.Error(), maxPlanText)
	}
	if err := r.writeRecord(ctx, app, name, spec); err != nil {
		return err
	}
	r.planner.memory.of(client.ObjectKeyFromObject(app)).note(func(k *known) { k.wrote = name })
	return r.planner.records.trim(ctx, app)
}

func (r *Reconciler) writeRecord(ctx context.Context, app *v1alpha1.Application, name string, spec v1alpha1.RecordSpec) error {
	rec := &v1alpha1.Record{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: name, Labels: map[string]string{OwnerName: app.Name}}, Spec: spec,
	}
	err := r.Client.Create(ctx, rec)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	r.planner.records.add(app, name)
	return nil
}

// cut leaves at most n bytes of a text, and ends it where a character ends.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
