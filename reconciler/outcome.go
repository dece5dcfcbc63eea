package reconciler

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/health"
)

// The reasons of an Application's conditions that are about health, Flux's.
const (
	ReasonProgressing = "Progressing"
	ReasonUnhealthy   = "HealthCheckFailed"
	ReasonHealthy     = "Healthy"
	ReasonTerminating = "Terminating"
)

// WaitsForHealth is the reason of a status.waiting whose plan waits between stages.
const WaitsForHealth = "Health"

// DefaultTimeout is how long the objects of a commit may take until they are healthy.
const DefaultTimeout = 5 * time.Minute

func timeout(app *v1alpha1.Application) time.Duration {
	if app.Spec.Timeout != nil && app.Spec.Timeout.Duration > 0 {
		return app.Spec.Timeout.Duration
	}
	return DefaultTimeout
}

func waitsForHealth(app *v1alpha1.Application) bool {
	return app.Status.Waiting != nil && app.Status.Waiting.Reason == WaitsForHealth
}

// begun says that the plan of a commit was let through and is carried out in part: what is
// left of it need not be let through again.
func begun(app *v1alpha1.Application, commit string) bool {
	return waitsForHealth(app) && app.Status.Waiting.Commit == commit
}

// await reports that a plan is carried out as far as health allows, and records what was.
func (r *Reconciler) await(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, a advance, started time.Time) error {
	if len(a.done) > 0 {
		part := plan.only(a.done)
		r.Events.Event(app, "Normal", "Applied", "%s: %s; %s", Short(rev.Commit), summary(part), cut(a.waits, 400))
		if err := r.record(ctx, app, rev, part, ReasonCommit, started, nil); err != nil {
			return err
		}
	}
	now := r.Now()
	return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
		w := &v1alpha1.WaitingPlan{
			Commit: rev.Commit, Digest: plan.Digest(), Reason: WaitsForHealth, Message: cut(a.waits, 2<<10), Since: metav1.NewTime(now).Rfc3339Copy(),
			ApprovedBy: plan.approvedBy,
		}
		// Since the first stage that waits: the time is the whole commit's.
		if old := s.Waiting; old != nil && old.Reason == WaitsForHealth && old.Commit == rev.Commit && s.ObservedGeneration == app.Generation {
			w.Since = old.Since
		}
		until := metav1.NewTime(w.Since.Add(timeout(app)))
		w.Until = &until
		s.Waiting, s.LastAttemptedCommit, s.Problems, s.ObservedGeneration = w, rev.Commit, nil, app.Generation
		switch message := Short(rev.Commit) + ": " + a.waits; {
		case a.failed:
			setCondition(s, app.Generation, metav1.ConditionFalse, ReasonUnhealthy, message)
		case now.After(until.Time):
			setCondition(s, app.Generation, metav1.ConditionFalse, ReasonUnhealthy, "not healthy within "+timeout(app).String()+": "+message)
		default:
			setCondition(s, app.Generation, metav1.ConditionUnknown, ReasonProgressing, message)
		}
	})
}

func setCondition(s *v1alpha1.ApplicationStatus, generation int64, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: Ready, Status: status, Reason: reason, Message: cut(message, 4<<10), ObservedGeneration: generation,
	})
}

// concludes sets Ready after everything of a plan is applied. It is true at once where no
// object can be anything but healthy, or where none of those was touched and all were
// healthy; otherwise the loop that follows health decides.
func concludes(s *v1alpha1.ApplicationStatus, app *v1alpha1.Application, commit string, plan *Plan, moved bool) {
	if waits := s.Waiting; waits != nil && waits.Reason == WaitsForHealth {
		s.Waiting = nil
	}
	setComplete(s, app.Generation, plan.unserved)
	if !moved && plan.Empty() {
		if c := meta.FindStatusCondition(s.Conditions, Ready); c != nil && (c.Reason == ReasonApplied || c.Reason == ReasonProgressing || c.Reason == ReasonUnhealthy) {
			return
		}
	}
	if !plan.awaits(app) && (!plan.watched(app) || meta.IsStatusConditionTrue(s.Conditions, Healthy)) {
		s.LastHealthyCommit = commit
		setCondition(s, app.Generation, metav1.ConditionTrue, ReasonApplied, "applied "+Short(commit))
		return
	}
	setCondition(s, app.Generation, metav1.ConditionUnknown, ReasonProgressing, "applied "+Short(commit)+", waits for health")
}

// awaits says that the plan touches an object whose health takes time.
func (p *Plan) awaits(app *v1alpha1.Application) bool {
	for _, s := range p.Steps {
		if s.Action != Prune && slow(app, refOf(s.desired)) {
			return true
		}
	}
	return false
}

// watched says that any of the Application's objects may be anything but healthy.
func (p *Plan) watched(app *v1alpha1.Application) bool {
	if len(app.Spec.HealthChecks) > 0 {
		return true
	}
	for _, ref := range p.inventory {
		if slow(app, ref) {
			return true
		}
	}
	return false
}

func slow(app *v1alpha1.Application, ref inventoryRef) bool {
	if !health.Immediate(ref.GroupKind()) {
		return true
	}
	for _, e := range app.Spec.HealthCheckExprs {
		if e.Kind == ref.Kind && e.APIVersion == ref.GroupVersion().String() {
			return true
		}
	}
	return false
}

// judge sets the conditions of an Application by the health of its objects, and says when to
// look again although nothing happened; zero: never.
func judge(s *v1alpha1.ApplicationStatus, app *v1alpha1.Application, e examination, now time.Time) time.Duration {
	c := metav1.Condition{Type: Healthy, Status: metav1.ConditionTrue, Reason: ReasonHealthy, ObservedGeneration: app.Generation}
	switch {
	case e.failed:
		c.Status, c.Reason = metav1.ConditionFalse, ReasonUnhealthy
	case len(e.sick) > 0:
		c.Status, c.Reason = metav1.ConditionUnknown, ReasonProgressing
	}
	c.Message = cut(list(e.sick), 4<<10)
	meta.SetStatusCondition(&s.Conditions, c)
	ready := meta.FindStatusCondition(s.Conditions, Ready)
	settled := s.LastAppliedCommit != "" && s.LastAppliedCommit == s.LastAttemptedCommit && s.ObservedGeneration == app.Generation && len(s.Problems) == 0
	if !settled || ready == nil || waitsForHealth(app) {
		return 0
	}
	if len(e.sick) == 0 {
		if ready.Reason == ReasonProgressing || ready.Reason == ReasonUnhealthy {
			setCondition(s, app.Generation, metav1.ConditionTrue, ReasonApplied, "applied "+Short(s.LastAppliedCommit))
		}
		if meta.IsStatusConditionTrue(s.Conditions, Ready) {
			s.LastHealthyCommit = s.LastAppliedCommit
		}
		return 0
	}
	if ready.Reason != ReasonProgressing && ready.Reason != ReasonUnhealthy {
		return 0
	}
	return unhealthy(s, app, e, ready, now)
}

// unhealthy says of an Application that is applied what it still waits for, or for what it
// waited in vain.
func unhealthy(s *v1alpha1.ApplicationStatus, app *v1alpha1.Application, e examination, ready *metav1.Condition, now time.Time) time.Duration {
	since := ready.LastTransitionTime.Time
	if t := s.LastAppliedTime; t != nil && t.After(since) {
		since = t.Time
	}
	left := since.Add(timeout(app)).Sub(now)
	applied := "applied " + Short(s.LastAppliedCommit)
	switch {
	case e.failed, ready.Status == metav1.ConditionFalse:
		setCondition(s, app.Generation, metav1.ConditionFalse, ReasonUnhealthy, applied+", but: "+list(e.sick))
	case left <= 0:
		setCondition(s, app.Generation, metav1.ConditionFalse, ReasonUnhealthy, applied+", not healthy within "+timeout(app).String()+": "+list(e.sick))
	default:
		setCondition(s, app.Generation, metav1.ConditionUnknown, ReasonProgressing, applied+", waits for: "+list(e.sick))
		return left
	}
	return 0
}
