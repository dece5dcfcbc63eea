package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
)

// The reasons of a Record.
const (
	ReasonCommit = "Commit"
	ReasonDrift  = "Drift"
)

// record writes down what was applied. The name follows from what happened and when,
// so that an attempt that is repeated after a crash writes one record.
func (r *Reconciler) record(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, reason string, started time.Time, failure error) error {
	rec := &v1alpha1.Record{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace,
			Name:      fmt.Sprintf("%s-%s-%d", app.Name, Short(rev.Commit), started.UnixMilli()),
			Labels:    map[string]string{OwnerName: app.Name},
		},
		Spec: v1alpha1.RecordSpec{
			Application: app.Name, Repository: rev.Repository, Commit: rev.Commit, Author: rev.Author, Message: rev.Message,
			Reason: reason, Started: metav1.NewTime(started), Milliseconds: r.Now().Sub(started).Milliseconds(),
			Outcome: "Applied", Created: plan.Count(Create), Changed: plan.Count(Change), Pruned: plan.Count(Prune),
			Plan: cut(plan.String(), maxPlanText),
		},
	}
	rec.Spec.ApprovedBy = plan.approvedBy
	if failure != nil {
		rec.Spec.Outcome, rec.Spec.Detail = "Failed", cut(failure.Error(), maxPlanText)
	}
	if err := r.Client.Create(ctx, rec); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("record: %w", err)
	}
	return r.trimRecords(ctx, app)
}

func (r *Reconciler) trimRecords(ctx context.Context, app *v1alpha1.Application) error {
	var list v1alpha1.RecordList
	if err := r.Client.List(ctx, &list, client.InNamespace(app.Namespace), client.MatchingLabels{OwnerName: app.Name}); err != nil {
		return fmt.Errorf("read the records of application %s: %w", app.Name, err)
	}
	if len(list.Items) <= maxRecords {
		return nil
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Record) int {
		return cmp.Or(a.Spec.Started.Compare(b.Spec.Started.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, old := range list.Items[:len(list.Items)-maxRecords] {
		if err := r.Client.Delete(ctx, &old); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
