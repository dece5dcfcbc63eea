package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
	"slipway.dev/slipway/state/loop"
)

// The reasons of a plan that waits.
const (
	WaitBrakes = "Brakes"
	WaitWindow = "Window"
	WaitHold   = "Hold"
	// waitStarted: it waits no longer. Once begun it is carried out to its end.
	waitStarted = "Started"
)

// The reasons of the condition Ready while a plan waits: somebody has to approve it, or
// nobody has to do anything.
const (
	ReasonBrakes  = "BrakesApplied"
	ReasonWaiting = "Waiting"
)

// passage is what gates found out about a plan.
type passage struct {
	// holds of the revision's tree.
	holds []v1alpha1.Hold
	// overrides that the plan holds to, as the status names them, and when the first ends.
	overrides []string
	until     time.Time
	// approvedBy is the author of the commit that let it through.
	approvedBy string
}

// waiting is why a plan is not carried out now.
type waiting struct {
	reason, message string
	// until is when that ends by itself; zero: it does not.
	until time.Time
	// at is the commit to follow meanwhile; empty: the one that was last applied.
	at string
}

// gates says whether a plan waits. Then its status says for what, and live state is kept
// at, or brought to, what is to be followed meanwhile.
func (r *Reconciler) gates(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, started time.Time) (bool, error) {
	w, err := r.judge(ctx, app, rev, plan)
	if err != nil {
		return false, err
	}
	if w == nil {
		return false, r.letThrough(ctx, app, rev, plan)
	}
	if w.at == "" || w.at == app.Status.LastAppliedCommit {
		if err := r.hold(ctx, app, rev, plan, *w); err != nil {
			return true, err
		}
		return true, r.keepLast(ctx, app, rev, started)
	}
	return true, r.follow(ctx, app, rev, plan, *w, started)
}

// judge says why a plan waits; nil: it does not.
func (r *Reconciler) judge(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) (*waiting, error) {
	active, ends := gate.Active(append(append([]v1alpha1.Hold(nil), app.Spec.Holds...), plan.holds...), r.Now())
	if h, ok := gate.At(active); ok && h.At != rev.Commit {
		return &waiting{WaitHold, "held at " + Short(h.At) + gate.Because(h), ends, h.At}, nil
	}
	if plan.Empty() {
		return nil, nil
	}
	if !isDrift(app, rev) {
		if w, err := r.heldBack(ctx, app, rev, plan, active); w != nil || err != nil {
			if w != nil {
				w.until = ends
			}
			return w, err
		}
	}
	if w, err := r.braked(ctx, app, rev, plan); w != nil || err != nil {
		return w, err
	}
	if isDrift(app, rev) || isStarted(app, rev) {
		return nil, nil
	}
	return r.closed(ctx, app, rev)
}

// isDrift says that a plan at a revision can only repair what was changed by hand, or begin
// or end an override.
func isDrift(app *v1alpha1.Application, rev api.Revision) bool {
	return app.Status.LastAppliedCommit == rev.Commit && app.Status.ObservedGeneration == app.Generation
}

// isStarted says that the plan at a revision was let through and is not at its end.
func isStarted(app *v1alpha1.Application, rev api.Revision) bool {
	w := app.Status.Waiting
	return w != nil && w.Reason == waitStarted && w.Commit == rev.Commit && w.Generation == app.Generation ||
		begun(app, rev.Commit) && app.Status.ObservedGeneration == app.Generation
}

// readHolds reads the holds of the revision's tree. Mistakes in them are the plan's.
func (p *Plan) readHolds(app *v1alpha1.Application, rev api.Revision) (err error) {
	p.holds, err = api.HoldsIn(rev.Tree, rootDir(app))
	if problems, bad := asProblems(err); bad {
		p.Problems, err = append(p.Problems, problems...), nil
	}
	return err
}

// onlyRepair leaves of a plan for the commit that is live what repairs it: deleting is no
// repair.
func (p *Plan) onlyRepair() {
	p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return s.Action == Prune })
}

// heldBack says whether a commit or an image of the plan is held.
func (r *Reconciler) heldBack(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, active []v1alpha1.Hold) (*waiting, error) {
	for _, h := range gate.Bad(active) {
		if h.Commit == rev.Commit {
			return &waiting{reason: WaitHold, message: "commit " + Short(h.Commit) + " is held" + gate.Because(h)}, nil
		}
		bad, err := r.Sources.RevisionAt(ctx, source(app), h.Commit)
		if err != nil {
			return &waiting{reason: WaitHold, message: fmt.Sprintf("commit %s is held%s, but cannot be read to tell whether this is the same: %v", Short(h.Commit), gate.Because(h), err)}, nil
		}
		same, err := r.rendersAlike(ctx, app, rev, bad)
		if err != nil {
			return nil, err
		}
		if same {
			return &waiting{reason: WaitHold, message: "is the same as commit " + Short(h.Commit) + ", which is held" + gate.Because(h)}, nil
		}
	}
	h, object, held := gate.BadImage(active, plan.brings)
	if held {
		return &waiting{reason: WaitHold, message: fmt.Sprintf("%s would get the image %s, which is held%s", object, h.Digest, gate.Because(h))}, nil
	}
	return nil, nil
}

// brings says whether the plan makes an object name an image's digest that does not yet.
func (p *Plan) brings(digest string) (object string, yes bool) {
	for _, s := range p.Steps {
		if s.Action == Prune || !gate.Names(s.desired.Object, digest) {
			continue
		}
		if s.live == nil || !gate.Names(withoutStatus(s.live.Object), digest) {
			return s.Object, true
		}
	}
	return "", false
}

func withoutStatus(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for k, v := range object {
		if k != "status" && k != "metadata" {
			out[k] = v
		}
	}
	return out
}

// closed says whether the Application's windows are closed. A rollback passes: who is in
// trouble must not be kept there.
func (r *Reconciler) closed(ctx context.Context, app *v1alpha1.Application, rev api.Revision) (*waiting, error) {
	if len(app.Spec.Windows) == 0 {
		return nil, nil
	}
	why, until, err := gate.Closed(app.Spec.Windows, r.Now())
	if err != nil || why == "" {
		return nil, err
	}
	w := &waiting{reason: WaitWindow, message: why, until: until}
	if !until.IsZero() {
		w.message += "; it is carried out at " + until.UTC().Format(time.RFC3339)
	}
	back, err := r.rollback(ctx, app, rev)
	if err != nil || back == rev.Commit {
		return nil, err
	}
	w.at = back
	return w, nil
}

// letThrough notes, before anything is applied, that a plan is let through which a gate
// could close on later.
func (r *Reconciler) letThrough(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) error {
	if err := r.markChildren(ctx, app, plan); err != nil {
		return err
	}
	w := app.Status.Waiting
	if isStarted(app, rev) && !plan.Empty() {
		plan.approvedBy = cmp.Or(plan.approvedBy, w.ApprovedBy)
		return nil
	}
	gated := len(app.Spec.Windows) > 0 || plan.approvedBy != ""
	if gated && !plan.Empty() && !isDrift(app, rev) {
		now := metav1.NewTime(r.Now())
		return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
			s.Waiting = &v1alpha1.WaitingPlan{
				Commit: rev.Commit, Digest: plan.Digest(), Reason: waitStarted, ApprovedBy: plan.approvedBy, Generation: app.Generation, Since: now,
			}
		})
	}
	if w != nil && ofGates(w.Reason) {
		return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) { s.Waiting = nil })
	}
	return nil
}

func ofGates(reason string) bool {
	return reason == WaitBrakes || reason == WaitWindow || reason == WaitHold || reason == waitStarted
}

// passed takes away the note that a plan at a commit waited or was let through.
func passed(s *v1alpha1.ApplicationStatus, commit string) {
	if s.Waiting != nil && s.Waiting.Commit == commit && ofGates(s.Waiting.Reason) {
		s.Waiting = nil
	}
}

// hold writes down that a plan waits, and tells people once.
func (r *Reconciler) hold(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, w waiting) error {
	now := &v1alpha1.WaitingPlan{
		Commit: rev.Commit, Digest: plan.Digest(), Reason: w.reason, Message: w.message, Generation: app.Generation, Since: metav1.NewTime(r.Now()).Rfc3339Copy(),
	}
	if !w.until.IsZero() {
		until := metav1.NewTime(w.until)
		now.Until = &until
	}
	before := app.Status.Waiting
	same := before != nil && before.Commit == now.Commit && before.Digest == now.Digest && before.Reason == now.Reason
	if same {
		now.Since = before.Since
	}
	err := r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) {
		s.Waiting, s.LastAttemptedCommit, s.Problems = now, rev.Commit, nil
		message := fmt.Sprintf("%s waits: %s", Short(rev.Commit), w.message)
		if w.reason == WaitBrakes {
			setReady(s, app.Generation, false, ReasonBrakes, message)
			return
		}
		// What is live is as it is meant to be.
		setReady(s, app.Generation, meta.IsStatusConditionTrue(s.Conditions, Ready), ReasonWaiting, message)
	})
	if err == nil && !same {
		r.Events.Event(app, "Warning", ReasonWaiting, "%s is not applied: %s", Short(rev.Commit), w.message)
		r.Log.Info("a plan waits", "application", app.Namespace+"/"+app.Name, "commit", rev.Commit, "reason", w.reason, "message", firstLine(w.message))
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// keepLast repairs drift from what was last applied while something newer waits. Where the
// Application itself was changed since, what was meant then is not known any more.
func (r *Reconciler) keepLast(ctx context.Context, app *v1alpha1.Application, rev api.Revision, started time.Time) error {
	last := app.Status.LastAppliedCommit
	if last == "" || last == rev.Commit || app.Status.ObservedGeneration != app.Generation {
		return nil
	}
	return r.keepAt(ctx, app, last, started)
}

// follow carries out another commit than the newest, which waits. Brakes bind it, too.
func (r *Reconciler) follow(ctx context.Context, app *v1alpha1.Application, newest api.Revision, newestPlan *Plan, w waiting, started time.Time) error {
	rev, err := r.Sources.RevisionAt(ctx, source(app), w.at)
	if err != nil {
		w.message += fmt.Sprintf("; it cannot be read: %v", err)
		return r.hold(ctx, app, newest, newestPlan, w)
	}
	plan, err := r.Plan(ctx, app, rev, true)
	if problems, bad := asProblems(err); bad {
		w.message += "; it has mistakes: " + problems.Error()
		return r.hold(ctx, app, newest, newestPlan, w)
	}
	if err != nil {
		return err
	}
	if !plan.Empty() {
		b, err := r.brakedSince(ctx, app, newest, plan)
		if err != nil {
			return err
		}
		if b != nil {
			return r.hold(ctx, app, rev, plan, *b)
		}
		if err := r.markChildren(ctx, app, plan); err != nil {
			return err
		}
	}
	if err := r.carryOut(ctx, app, rev, plan, started); err != nil {
		return err
	}
	return r.hold(ctx, app, newest, newestPlan, w)
}

// again is when to look at an Application the next time by the clock.
func (r *Reconciler) again(ctx context.Context, app *v1alpha1.Application) loop.Result {
	var times []time.Time
	if w := app.Status.Waiting; w != nil && w.Until != nil {
		times = append(times, w.Until.Time)
	}
	for _, h := range app.Spec.Holds {
		if h.Until != nil {
			times = append(times, h.Until.Time)
		}
	}
	if len(app.Status.Overrides) > 0 {
		// A read that failed leaves it at the interval.
		if active, err := r.activeOverrides(ctx, app); err == nil {
			for _, o := range active {
				times = append(times, o.Spec.Until.Time)
			}
		}
	}
	return loop.Result{After: gate.Soonest(r.Now(), interval(app), times...)}
}
