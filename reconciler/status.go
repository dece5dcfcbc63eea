package reconciler

import (
	"context"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// maxSubject is how many bytes of a commit's first line a status carries.
const maxSubject = 200

// maxProblems is how many problems a status carries; the event says how many there were.
const maxProblems = 100

// updateStatus changes the status by change, on top of what is live now, and writes
// only where that makes a difference.
func (r *Reconciler) updateStatus(ctx context.Context, app *v1alpha1.Application, change func(*v1alpha1.ApplicationStatus)) error {
	// What was read a moment ago most often still is what is live; where it is not, the write fails.
	now := app.DeepCopy()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if now == nil {
			now = &v1alpha1.Application{}
			if err := r.Client.Get(ctx, client.ObjectKeyFromObject(app), now); err != nil {
				return client.IgnoreNotFound(err)
			}
		}
		before := now.Status.DeepCopy()
		change(&now.Status)
		if !reflect.DeepEqual(before, &now.Status) {
			if err := r.Client.Status().Update(ctx, now); err != nil {
				now = nil
				return client.IgnoreNotFound(err)
			}
		}
		app.Status, app.ResourceVersion = now.Status, now.ResourceVersion
		return nil
	})
}

func setReady(s *v1alpha1.ApplicationStatus, generation int64, ok bool, reason, message string) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	setCondition(s, generation, status, reason, message)
}

func (r *Reconciler) report(ctx context.Context, app *v1alpha1.Application, ok bool, reason, message string) error {
	return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) { setReady(s, app.Generation, ok, reason, message) })
}

// refuse reports the mistakes of a commit. Nothing else changes.
func (r *Reconciler) refuse(ctx context.Context, app *v1alpha1.Application, rev api.Revision, problems api.Problems) error {
	known := app.Status.LastAttemptedCommit == rev.Commit && len(app.Status.Problems) > 0
	shown := problems[:min(len(problems), maxProblems)]
	err := r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
		s.LastAttemptedCommit = rev.Commit
		s.Problems = shown
		setReady(s, app.Generation, false, ReasonInvalid, count(len(problems), "problem")+" at "+Short(rev.Commit)+":\n"+problems.Error())
	})
	if err == nil && !known {
		r.Events.Event(app, "Warning", ReasonInvalid, "%s changes nothing, %s to mend: %s", Short(rev.Commit), count(len(problems), "problem"), cut(problems.Error(), 900))
	}
	return err
}

// settle writes down that the plan is live.
func (r *Reconciler) settle(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) error {
	r.sayOverrides(app, plan)
	known := r.planner.memory.of(client.ObjectKeyFromObject(app))
	known.keepOnly(plan.inventory)
	if same, err := r.untouched(ctx, app, rev, plan); err != nil || same {
		return err
	}
	return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
		moved := s.LastAppliedCommit != rev.Commit || s.ObservedGeneration != app.Generation
		if s.LastAppliedCommit != rev.Commit {
			now := metav1.NewTime(r.Now())
			s.LastAppliedTime = &now
		}
		s.LastAppliedCommit, s.LastAttemptedCommit = rev.Commit, rev.Commit
		subject, _, _ := strings.Cut(strings.TrimSpace(rev.Message), "\n")
		s.LastAppliedAuthor, s.LastAppliedMessage = rev.Author, cut(subject, maxSubject)
		s.Problems = nil
		s.ObservedGeneration = app.Generation
		s.Overrides = plan.overrides
		passed(s, rev.Commit)
		known.list(s, plan.inventory)
		s.Attempt, s.Drift = nil, plan.contested
		concludes(s, app, rev.Commit, plan, moved)
	})
}
