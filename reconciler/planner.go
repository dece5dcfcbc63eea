package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fluxcd/pkg/ssa"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
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

// planner compares desired objects with live state. It changes nothing.
type planner struct {
	client client.Client
	rm     *ssa.ResourceManager
}

func newPlanner(c client.Client) *planner {
	return &planner{client: c, rm: ssa.NewResourceManager(c, nil, ssa.Owner{Field: FieldManager, Group: ownerGroup})}
}

// plan computes what applying desired would do. Mistakes are in the plan's Problems,
// all of them; an error means that live state could not be read, and that nothing is known.
func (p *planner) plan(ctx context.Context, app *v1alpha1.Application, rev api.Revision, desired api.Desired) (*Plan, error) {
	out := &Plan{
		Application: app.Name, Path: app.Spec.Path, Commit: rev.Commit, Live: app.Status.LastAppliedCommit,
	}
	objects := slices.Clone(desired.Objects)
	slices.SortStableFunc(objects, func(a, b api.DesiredObject) int {
		return order(a.GroupVersionKind().GroupKind()) - order(b.GroupVersionKind().GroupKind())
	})
	for _, o := range objects {
		if err := p.planObject(ctx, app, o, out); err != nil {
			return nil, err
		}
	}
	if err := p.planPrune(ctx, app, out); err != nil {
		return nil, err
	}
	return out, p.addConsequences(ctx, out)
}

func (p *planner) planObject(ctx context.Context, app *v1alpha1.Application, o api.DesiredObject, out *Plan) error {
	desired := o.Unstructured.DeepCopy()
	unstructured.RemoveNestedField(desired.Object, "status")
	if desired.GetKind() == "Application" && client.ObjectKeyFromObject(desired) == client.ObjectKeyFromObject(app) {
		out.Problems = append(out.Problems, problem(o, "metadata.name", "is the Application that this belongs to: none declares itself"))
		return nil
	}
	live, err := p.live(ctx, refOf(desired))
	if err != nil {
		return err
	}
	if owner, taken := foreignOwner(live, app); taken {
		out.Problems = append(out.Problems, problem(o, "", "is already managed by application "+owner))
		return nil
	}
	carry(desired, live)
	p.rm.SetOwnerLabels([]*unstructured.Unstructured{desired}, app.Name, app.Namespace)
	out.inventory = append(out.inventory, refOf(desired))

	change, before, after, err := p.rm.Diff(ctx, desired, ssa.DefaultDiffOptions())
	if err != nil {
		problems, ok := problemsFrom(o, err)
		if !ok {
			return fmt.Errorf("%s: %w", api.ObjectName(desired), err)
		}
		out.Problems = append(out.Problems, problems...)
		return nil
	}
	step := Step{
		Object: api.ObjectName(desired), File: o.Origin.File, Line: o.Origin.Line, Via: o.Origin.Via,
		desired: desired, live: live, stage: stageOf(desired),
	}
	switch change.Action {
	case ssa.CreatedAction:
		step.Action = Create
	case ssa.ConfiguredAction:
		step.Action, step.Fields = Change, diffFields(before, after)
	default:
		out.Unchanged++
		return nil
	}
	out.Steps = append(out.Steps, step)
	return nil
}

// planPrune adds what the application owns and git no longer has, in the reverse of
// the order in which it was made.
func (p *planner) planPrune(ctx context.Context, app *v1alpha1.Application, out *Plan) error {
	if app.Spec.Prune != nil && !*app.Spec.Prune {
		return nil
	}
	kept := entries(out.inventory...)
	var gone []Step
	for _, e := range app.Status.Inventory {
		if slices.ContainsFunc(kept, func(k v1alpha1.InventoryEntry) bool { return k.ID == e.ID }) {
			continue
		}
		ref, err := parseEntry(e)
		if err != nil {
			return fmt.Errorf("inventory of application %s: %w", app.Name, err)
		}
		live, err := p.live(ctx, ref)
		if err != nil {
			return err
		}
		if live == nil || !ownedBy(live, app) || live.GetAnnotations()[KeepAnnotation] == "disabled" || live.GetDeletionTimestamp() != nil {
			continue
		}
		gone = append(gone, Step{Action: Prune, Object: api.ObjectName(live), desired: live, live: live, stage: stageOf(live)})
	}
	if len(gone) > 0 && len(kept) == 0 && len(out.Problems) == 0 {
		out.Problems = append(out.Problems, api.Problem{File: app.Spec.Path,
			Message: fmt.Sprintf("renders to nothing, which would delete all %d objects of application %s; delete the application instead", len(gone), app.Name)})
	}
	slices.SortStableFunc(gone, func(a, b Step) int {
		return order(b.desired.GroupVersionKind().GroupKind()) - order(a.desired.GroupVersionKind().GroupKind())
	})
	out.Steps = append(out.Steps, gone...)
	return nil
}

// live reads an object; nil when there is none. A read that failed is an error, never
// an absence.
func (p *planner) live(ctx context.Context, ref inventoryRef) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(ref.GroupVersionKind)
	err := p.client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s/%s: %w", ref.Kind, ref.Name, err)
	}
	return o, nil
}

func ownedBy(o *unstructured.Unstructured, app *v1alpha1.Application) bool {
	l := o.GetLabels()
	return l[OwnerName] == app.Name && l[OwnerNamespace] == app.Namespace
}

func foreignOwner(live *unstructured.Unstructured, app *v1alpha1.Application) (string, bool) {
	if live == nil || live.GetLabels()[OwnerName] == "" || ownedBy(live, app) {
		return "", false
	}
	return live.GetLabels()[OwnerNamespace] + "/" + live.GetLabels()[OwnerName], true
}

func stageOf(o *unstructured.Unstructured) api.Stage {
	if k, ok := api.KindFor(o.GroupVersionKind().GroupKind()); ok {
		return k.Stage
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
