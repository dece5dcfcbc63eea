package reconciler

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
)

// History reads the history of the GitRepositories.
type History interface {
	// History lists the commits that to reaches and from does not, newest first.
	History(ctx context.Context, repository types.NamespacedName, from, to string, limit int) ([]api.Commit, error)
}

// maxApprovals is how many commits back an approval, or a rollback, is looked for.
const maxApprovals = 1000

// braked says whether a plan takes away so much that somebody has to approve it first.
func (r *Reconciler) braked(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) (*waiting, error) {
	if isStarted(app, rev) {
		return nil, nil
	}
	l := loss(plan)
	if isDrift(app, rev) {
		// Repairing what was changed by hand may restart it; deleting is no repair.
		l.Effects = deletions(l.Effects)
	}
	return r.brakedBy(ctx, app, rev, plan, l)
}

// brakedSince is braked for a commit that is older than the one which may approve it.
func (r *Reconciler) brakedSince(ctx context.Context, app *v1alpha1.Application, newest api.Revision, plan *Plan) (*waiting, error) {
	return r.brakedBy(ctx, app, newest, plan, loss(plan))
}

func (r *Reconciler) brakedBy(ctx context.Context, app *v1alpha1.Application, newest api.Revision, plan *Plan, l gate.Loss) (*waiting, error) {
	why := gate.Braked(app.Spec.Brakes, l)
	if why == "" && (app.Spec.Brakes == nil || !app.Spec.Brakes.Disabled) {
		var err error
		if why, err = r.childBraked(plan); err != nil {
			return nil, err
		}
	}
	if why == "" {
		return nil, nil
	}
	digest := plan.Digest()
	log, err := r.newer(ctx, app, newest)
	if err != nil {
		return nil, err
	}
	if by, ok := gate.Approval(log, digest); ok {
		plan.approvedBy = by.Author
		return nil, nil
	}
	return &waiting{reason: WaitBrakes, message: gate.HowToApprove(why, app.Name, digest)}, nil
}

// newer are the commits since what was last applied, the newest itself always among them.
func (r *Reconciler) newer(ctx context.Context, app *v1alpha1.Application, newest api.Revision) ([]api.Commit, error) {
	head := api.Commit{Hash: newest.Commit, Author: newest.Author, Message: newest.Message, When: newest.When}
	last := app.Status.LastAppliedCommit
	if r.History == nil || last == newest.Commit {
		return []api.Commit{head}, nil
	}
	log, err := r.History.History(ctx, source(app), last, newest.Commit, maxApprovals)
	if err != nil {
		return nil, fmt.Errorf("commits from %s to %s of application %s: %w", Short(last), Short(newest.Commit), app.Name, err)
	}
	return append([]api.Commit{head}, log...), nil
}

// loss is what a plan takes away. A deployment or a set that rolls out is one restart, however
// many pods it has, and none where it has no pods.
func loss(plan *Plan) gate.Loss {
	l := gate.Loss{Live: plan.Unchanged + plan.Count(Change) + plan.Count(Prune) + plan.Count(Replace)}
	for _, s := range plan.Steps {
		switch {
		case s.Action == Prune, s.Action == Replace:
			l.Effects = append(l.Effects, gate.Effect{Object: s.Object, Kind: s.desired.GetKind(), Deletes: true})
		case s.Action == Change && restarts(s):
			l.Effects = append(l.Effects, gate.Effect{Object: s.Object, Kind: s.desired.GetKind(), Restarts: true})
		}
	}
	return l
}

func restarts(s Step) bool {
	if !rollsOut(s.desired) || s.desired.GetKind() != "DaemonSet" && replicas(s.live) == 0 {
		return false
	}
	for _, f := range s.Fields {
		if f.Path == "spec.template" || strings.HasPrefix(f.Path, "spec.template.") {
			return true
		}
	}
	return false
}

func replicas(o *unstructured.Unstructured) int64 {
	if o == nil {
		return 0
	}
	n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	return n
}

func deletions(all []gate.Effect) []gate.Effect {
	var out []gate.Effect
	for _, e := range all {
		if e.Deletes {
			out = append(out, e)
		}
	}
	return out
}

// childBraked says why deleting an Application that this one declared needs an approval:
// everything that it made goes with it, by its own brakes.
func (r *Reconciler) childBraked(plan *Plan) (string, error) {
	for _, s := range plan.Steps {
		if s.Action != Prune || s.live == nil || s.desired.GetKind() != "Application" {
			continue
		}
		var child v1alpha1.Application
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(s.live.Object, &child); err != nil {
			return "", fmt.Errorf("application %s: %w", s.live.GetName(), err)
		}
		if why := deletionBraked(&child); why != "" {
			return "deletes application " + child.Name + ", which " + why, nil
		}
	}
	return "", nil
}

// deletionBraked says why deleting an Application needs an approval; empty: it does not.
func deletionBraked(app *v1alpha1.Application) string {
	if leavesAll(app) {
		return ""
	}
	owned, err := api.Inventory(&app.Status)
	if err != nil {
		return "has an inventory that cannot be read: " + err.Error()
	}
	l := gate.Loss{Live: len(owned)}
	for _, e := range owned {
		ref, err := parseEntry(e)
		if err != nil {
			return "has an inventory that cannot be read: " + err.Error()
		}
		l.Effects = append(l.Effects, gate.Effect{Object: strings.ToLower(ref.Kind) + "/" + ref.Name, Kind: ref.Kind, Deletes: true})
	}
	return gate.Braked(app.Spec.Brakes, l)
}

// prunedBy on an Application says which plan of its parent deletes it, and thus that git
// asked for it and the brakes let it through.
const prunedBy = "slipway.dev/pruned-by"

// markChildren notes on the Applications that a plan deletes that it was let through.
func (r *Reconciler) markChildren(ctx context.Context, app *v1alpha1.Application, plan *Plan) error {
	for _, s := range plan.Steps {
		if s.Action != Prune || s.live == nil || s.desired.GetKind() != "Application" {
			continue
		}
		mark := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, prunedBy, app.Namespace+"/"+app.Name+" at "+plan.Commit)
		child := &v1alpha1.Application{}
		child.Namespace, child.Name = s.live.GetNamespace(), s.live.GetName()
		if err := r.Client.Patch(ctx, child, client.RawPatch(types.MergePatchType, []byte(mark))); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("application %s: %w", child.Name, err)
		}
	}
	return nil
}

// farewell is what becomes of a deleted Application's objects.
type farewell int

const (
	// takeAll: they go as its deletion policy says. leaveAll: they stay. notYet: nothing happens.
	takeAll farewell = iota
	leaveAll
	notYet
)

// leave decides on the objects of an Application that is being deleted. Deleted by its parent's
// plan it passed that plan's brakes. One that somebody deleted by hand while git still
// declares it leaves its objects alone: its parent makes it anew, and it takes them over again.
// Any other deletion is subject to the brakes.
func (r *Reconciler) leave(ctx context.Context, app *v1alpha1.Application, plan *Plan) (farewell, error) {
	if app.Annotations[prunedBy] != "" {
		return takeAll, nil
	}
	declared, err := r.stillDeclared(ctx, app)
	if err != nil {
		return notYet, err
	}
	if declared {
		r.Events.Event(app, "Warning", "DeletedByHand", "git still declares it: its objects stay, and it is made anew")
		return leaveAll, nil
	}
	why := deletionBraked(app)
	if why == "" {
		return takeAll, nil
	}
	rev, err := r.Sources.Revision(ctx, source(app))
	if err != nil {
		return notYet, err
	}
	log, err := r.newer(ctx, app, rev)
	if err != nil {
		return notYet, err
	}
	if by, ok := gate.Approval(log, plan.Digest()); ok {
		r.Events.Event(app, "Normal", "DeletionApproved", "by %s", by.Author)
		return takeAll, nil
	}
	return notYet, r.hold(ctx, app, rev, plan, waiting{reason: WaitBrakes, message: gate.HowToApprove("of its deletion "+why, app.Name, plan.Digest())})
}

// stillDeclared says whether the Application that declared this one still does.
func (r *Reconciler) stillDeclared(ctx context.Context, app *v1alpha1.Application) (bool, error) {
	name := app.Labels[OwnerName]
	if name == "" {
		return false, nil
	}
	var parent v1alpha1.Application
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: app.Labels[OwnerNamespace], Name: name}, &parent); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if parent.DeletionTimestamp != nil {
		return false, nil
	}
	owned, err := api.Inventory(&parent.Status)
	if err != nil {
		return false, fmt.Errorf("inventory of application %s: %w", name, err)
	}
	own := inventoryRef{GroupVersionKind: v1alpha1.GroupVersion.WithKind("Application"), Namespace: app.Namespace, Name: app.Name}.entry().ID
	for _, e := range owned {
		if e.ID == own {
			return true, nil
		}
	}
	return false, nil
}
