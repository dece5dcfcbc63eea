package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fluxcd/pkg/ssa"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/live"
)

// FieldManager owns the fields that git declares.
const FieldManager = "slipway"

// Labels that say which Application owns an object.
const (
	ownerGroup     = "application.slipway.dev"
	OwnerName      = ownerGroup + "/name"
	OwnerNamespace = ownerGroup + "/namespace"
)

// KeepAnnotation set to "disabled" on an object keeps it when it leaves git.
const KeepAnnotation = "slipway.dev/prune"

// planner compares desired objects with live state. It changes nothing but its memory.
type planner struct {
	client client.Client
	target target
	index  *live.Index
	memory *memory
	// records are those that applies leave.
	records *records
	now     func() time.Time
}

// newPlanner compares and applies in batches where there is an Applier, and one at a time
// by fluxcd/pkg/ssa where there is none.
func newPlanner(c client.Client, applier Applier, now func() time.Time) *planner {
	p := &planner{client: c, target: newManaged(c), index: live.NewIndex(claimOf), memory: newMemory(), records: newRecords(c), now: now}
	if applier != nil {
		p.target = batches{applier}
	}
	return p
}

// candidate is a desired object on its way into a plan.
type candidate struct {
	api.DesiredObject
	ref  inventoryRef
	hash live.Hash
	// shaped is what is applied: the object with its owner's labels and without what
	// belongs to others.
	shaped *unstructured.Unstructured
	policy policy
}

// plan computes what applying desired would do. Mistakes are in the plan's Problems,
// all of them; an error means that live state could not be read, and that nothing is known.
//
// Objects that are as they were when they were compared last cost nothing; only the others
// are compared. The desired objects are left as they are: a renderer shares them.
func (p *planner) plan(ctx context.Context, app *v1alpha1.Application, rev api.Revision, desired api.Desired) (*Plan, error) {
	out := &Plan{
		Application: app.Name, Path: app.Spec.Path, Commit: rev.Commit, Live: app.Status.LastAppliedCommit,
	}
	self := client.ObjectKeyFromObject(app)
	known := p.memory.of(self)
	known.expire(p.now())
	hashes := known.hashesOf(desired)
	var moved []candidate
	for _, i := range inOrder(desired.Objects) {
		c := candidate{DesiredObject: desired.Objects[i], ref: refOf(desired.Objects[i].Unstructured), hash: hashes[i]}
		if c.ref.Kind == "Application" && c.ref.key() == self {
			out.Problems = append(out.Problems, problem(c.DesiredObject, "metadata.name", "is the Application that this belongs to: none declares itself"))
			continue
		}
		out.inventory = append(out.inventory, c.ref)
		if known.holds(p.index, c.ref, c.hash) {
			out.Unchanged++
			continue
		}
		moved = append(moved, c)
	}
	if err := p.compare(ctx, app, moved, known, out); err != nil {
		return nil, err
	}
	if err := p.planPrune(ctx, app, out); err != nil {
		return nil, err
	}
	return out, p.addConsequences(ctx, out)
}

// inOrder are the numbers of objects in the order in which they are applied.
func inOrder(objects []api.DesiredObject) []int {
	places := make([]int, len(objects))
	numbers := make([]int, len(objects))
	for i, o := range objects {
		places[i], numbers[i] = order(o.GroupVersionKind().GroupKind()), i
	}
	slices.SortStableFunc(numbers, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
	return numbers
}

// compare asks live state about objects of which it is not known how they stand.
func (p *planner) compare(ctx context.Context, app *v1alpha1.Application, moved []candidate, known *known, out *Plan) error {
	if len(moved) == 0 {
		return nil
	}
	onAllCores(len(moved), func(i int) { moved[i].shaped = shape(moved[i].Unstructured, app) })
	moved, err := p.byPolicy(ctx, moved, known, out)
	if err != nil {
		return err
	}
	objects := make([]*unstructured.Unstructured, len(moved))
	for i, c := range moved {
		if carries(c.shaped) {
			live, err := p.live(ctx, c.ref)
			if err != nil {
				return err
			}
			carry(c.shaped, live)
		}
		objects[i] = c.shaped
	}
	for i, got := range p.target.compare(ctx, objects) {
		if got.before == nil && replaceable(got.err) {
			if got.before, err = p.live(ctx, moved[i].ref); err != nil {
				return err
			}
		}
		if err := p.addStep(app, moved[i], got, known, out); err != nil {
			return err
		}
	}
	return nil
}

// shape makes of a desired object what is applied of it.
func shape(o *unstructured.Unstructured, app *v1alpha1.Application) *unstructured.Unstructured {
	out := o.DeepCopy()
	delete(out.Object, "status")
	foldStringData(out)
	labels := out.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[OwnerName], labels[OwnerNamespace] = app.Name, app.Namespace
	out.SetLabels(labels)
	return out
}

// addStep adds to a plan what a comparison found.
func (p *planner) addStep(app *v1alpha1.Application, c candidate, got outcome, known *known, out *Plan) error {
	if owner, taken := foreignOwner(got.before, app); taken {
		out.Problems = append(out.Problems, problem(c.DesiredObject, "", "is already managed by application "+owner))
		out.inventory = slices.DeleteFunc(out.inventory, func(r inventoryRef) bool { return r == c.ref })
		return nil
	}
	if got.before == nil && c.shaped.GetKind() == "Pod" && apierrors.IsForbidden(got.err) {
		// What lets it in may come with the same plan: whether it does is asked for the plan as a whole.
		got = outcome{action: ssa.CreatedAction}
	}
	if got.err != nil {
		problems, ok := problemsFrom(c.DesiredObject, got.err)
		if !ok {
			return fmt.Errorf("%s: %w", api.ObjectName(c.shaped), got.err)
		}
		switch immutable := got.before != nil && replaceable(got.err); {
		case immutable && c.policy.force:
			out.Steps = append(out.Steps, replacement(p.step(app, c, got)))
			return nil
		case immutable:
			problems = howToReplace(problems)
		}
		out.Problems = append(out.Problems, problems...)
		return nil
	}
	step := p.step(app, c, got)
	switch got.action {
	case ssa.CreatedAction:
		step.Action, step.prepared = Create, got.prepared
	case ssa.ConfiguredAction:
		step.Action, step.prepared, step.Fields = Change, got.prepared, maskFields(c.shaped, diffFields(got.before, got.after))
	default:
		known.equal(c.ref, c.hash, got.before.GetResourceVersion())
		out.Unchanged++
		return nil
	}
	out.Steps = append(out.Steps, step)
	return nil
}

func (p *planner) step(app *v1alpha1.Application, c candidate, got outcome) Step {
	return Step{
		Object: api.ObjectName(c.shaped), File: c.Origin.File, Line: c.Origin.Line, Via: c.Origin.Via,
		desired: c.shaped, live: got.before, stage: stageOf(c.shaped), ref: c.ref, hash: c.hash, app: client.ObjectKeyFromObject(app),
		policy: c.policy,
	}
}

// planPrune adds what the application owns and git no longer has, in the reverse of
// the order in which it was made.
func (p *planner) planPrune(ctx context.Context, app *v1alpha1.Application, out *Plan) error {
	if app.Spec.Prune != nil && !*app.Spec.Prune {
		return nil
	}
	left, err := p.memory.of(client.ObjectKeyFromObject(app)).leftBehind(app, out.inventory)
	if err != nil {
		return err
	}
	var gone []Step
	for _, ref := range left {
		live, err := p.live(ctx, ref)
		if err != nil {
			return err
		}
		if live == nil || !ownedBy(live, app) || keeps(live) {
			continue
		}
		if live.GetDeletionTimestamp() != nil {
			out.going = append(out.going, live)
			continue
		}
		gone = append(gone, Step{Action: Prune, Object: api.ObjectName(live), desired: live, live: live, stage: stageOf(live), ref: ref})
	}
	if len(gone) > 0 && len(out.inventory) == 0 && len(out.Problems) == 0 {
		out.Problems = append(out.Problems, api.Problem{File: app.Spec.Path,
			Message: fmt.Sprintf("renders to nothing, which would delete all %d objects of application %s; delete the application instead", len(gone), app.Name)})
	}
	slices.SortStableFunc(gone, func(a, b Step) int { return order(b.ref.GroupKind()) - order(a.ref.GroupKind()) })
	out.Steps = append(out.Steps, gone...)
	return nil
}

// live reads an object; nil when there is none.
func (p *planner) live(ctx context.Context, ref inventoryRef) (*unstructured.Unstructured, error) {
	return read(ctx, p.client, ref)
}

func ownedBy(o *unstructured.Unstructured, app *v1alpha1.Application) bool {
	l := o.GetLabels()
	return l[OwnerName] == app.Name && l[OwnerNamespace] == app.Namespace
}

func foreignOwner(live *unstructured.Unstructured, app *v1alpha1.Application) (string, bool) {
	if live == nil || live.GetLabels()[OwnerName] == "" || ownedBy(live, app) {
		return "", false
	}
	return types.NamespacedName{Namespace: live.GetLabels()[OwnerNamespace], Name: live.GetLabels()[OwnerName]}.String(), true
}

func stageOf(o *unstructured.Unstructured) api.Stage {
	return stageOfKind(o.GroupVersionKind().GroupKind())
}

func stageOfKind(gk schema.GroupKind) api.Stage {
	if k, ok := api.KindFor(gk); ok {
		return k.Stage
	}
	if isNamespace(gk) {
		return api.StagePolicy
	}
	return api.StageWorkload
}

// problemsFrom turns live state's refusal of an object into problems with lines. It
// says false for errors that are not the object's fault.
func problemsFrom(o api.DesiredObject, err error) ([]api.Problem, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil, false
	}
	s := status.Status()
	if s.Code < 400 || s.Code >= 500 || apierrors.IsTooManyRequests(err) || apierrors.IsTimeout(err) {
		return nil, false
	}
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return []api.Problem{problem(o, "", s.Message)}, true
	}
	var out []api.Problem
	for _, c := range s.Details.Causes {
		out = append(out, problem(o, c.Field, c.Message))
	}
	return out, true
}

func problem(o api.DesiredObject, field, message string) api.Problem {
	return api.Problem{
		File: o.Origin.File, Line: o.Origin.LineOf(field), Via: o.Origin.Via,
		Object: api.ObjectName(o.Unstructured), Field: field, Message: message,
	}
}
