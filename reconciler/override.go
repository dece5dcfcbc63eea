package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// ReasonOverride is the reason of a Record of the beginning or end of an override.
const ReasonOverride = "Override"

// activeOverrides are the overrides of an Application that are in force, by name.
func (r *Reconciler) activeOverrides(ctx context.Context, app *v1alpha1.Application) ([]v1alpha1.Override, error) {
	var list v1alpha1.OverrideList
	if err := r.Client.List(ctx, &list, client.InNamespace(app.Namespace)); err != nil {
		return nil, fmt.Errorf("read the overrides of %s: %w", app.Namespace, err)
	}
	now := r.Now()
	out := slices.DeleteFunc(list.Items, func(o v1alpha1.Override) bool {
		return o.Spec.Application != app.Name || !Overrides(&o, now)
	})
	slices.SortFunc(out, func(a, b v1alpha1.Override) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Overrides says whether an override is in force at a time.
func Overrides(o *v1alpha1.Override, at time.Time) bool {
	return o.DeletionTimestamp == nil && at.Before(o.Spec.Until.Time) && !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.OverrideEnded)
}

// overridden is what git declares with the overrides that are in force: an exception is
// planned, applied and kept as if git said so, and ends by being left out.
func (r *Reconciler) overridden(ctx context.Context, app *v1alpha1.Application, want api.Desired) (api.Desired, passage, error) {
	var p passage
	active, err := r.activeOverrides(ctx, app)
	if err != nil || len(active) == 0 {
		return want, p, err
	}
	// What a renderer returns is shared, and its hash covers no override.
	want.Objects, want.Hash = slices.Clone(want.Objects), ""
	for i := range active {
		o := &active[i]
		p.overrides = append(p.overrides, o.Name+": "+describe(o))
		if p.until.IsZero() || o.Spec.Until.Time.Before(p.until) {
			p.until = o.Spec.Until.Time
		}
		at := slices.IndexFunc(want.Objects, func(d api.DesiredObject) bool { return names(o.Spec.Object, d.Unstructured) })
		if at < 0 {
			continue // git no longer has it
		}
		patched, err := patch(want.Objects[at].Unstructured, o.Spec.Patch.Raw)
		if err != nil {
			return want, p, api.Problems{{Object: api.ObjectName(want.Objects[at].Unstructured), Message: "override " + o.Name + " does not fit: " + err.Error()}}
		}
		want.Objects[at].Unstructured = patched
	}
	// An exception from git is none from tenancy.
	problems, err := r.authorize(ctx, app, want.Objects)
	return want, p, asError(problems, err)
}

func names(ref v1alpha1.ObjectReference, o *unstructured.Unstructured) bool {
	return ref.Kind == o.GetKind() && ref.Name == o.GetName() && ref.Namespace == o.GetNamespace() && ref.APIVersion == o.GetAPIVersion()
}

// patch merges a JSON merge patch into a copy of an object.
func patch(o *unstructured.Unstructured, raw []byte) (*unstructured.Unstructured, error) {
	before, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	after, err := jsonpatch.MergePatch(before, raw)
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	return out, out.UnmarshalJSON(after)
}

// describe says what an override is, without what it changes: that may be secret.
func describe(o *v1alpha1.Override) string {
	object := strings.ToLower(o.Spec.Object.Kind) + "/" + o.Spec.Object.Name
	if o.Spec.Object.Namespace != "" {
		object = o.Spec.Object.Namespace + "/" + object
	}
	return fmt.Sprintf("%s until %s by %s: %s", object, o.Spec.Until.UTC().Format(time.RFC3339), o.Spec.Owner, o.Spec.Reason)
}

// overrideWatch wakes the Application of an override.
func overrideWatch() loop.Watch {
	return loop.Watch{List: &v1alpha1.OverrideList{}, Keys: func(o client.Object) []loop.Key {
		override, ok := o.(*v1alpha1.Override)
		if !ok {
			return nil
		}
		return []loop.Key{{Namespace: override.Namespace, Name: override.Spec.Application}}
	}}
}

// moved says that overrides began or ended since the last apply: what a plan changes is then
// not, or not only, what somebody changed by hand.
func moved(app *v1alpha1.Application, plan *Plan) bool {
	return !slices.Equal(app.Status.Overrides, plan.overrides)
}

// override begins and ends overrides at the commit that is live, also where drift is only
// reported; there it touches nothing else.
func (r *Reconciler) override(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan, started time.Time) error {
	if app.Spec.Drift == v1alpha1.DriftReport {
		both := slices.Concat(app.Status.Overrides, plan.overrides)
		plan.Steps = slices.DeleteFunc(plan.Steps, func(s Step) bool {
			return !slices.ContainsFunc(both, func(o string) bool { return strings.Contains(o, ": "+s.Object+" until ") })
		})
	}
	if err := r.begin(ctx, app, rev, plan, ReasonOverride, started); err != nil {
		return err
	}
	if err := r.planner.apply(ctx, plan); err != nil {
		return errors.Join(err, r.record(ctx, app, rev, plan, ReasonOverride, started, err))
	}
	if !plan.Empty() || unrecorded(app, rev.Commit) {
		if err := r.record(ctx, app, rev, plan, ReasonOverride, started, nil); err != nil {
			return err
		}
	}
	r.sayOverrides(app, plan)
	return r.updateStatus(ctx, app, func(s *v1alpha1.ApplicationStatus) { s.Overrides, s.Attempt = plan.overrides, nil })
}

// sayOverrides tells people which overrides began or ended.
func (r *Reconciler) sayOverrides(app *v1alpha1.Application, plan *Plan) {
	for _, o := range plan.overrides {
		if !slices.Contains(app.Status.Overrides, o) {
			r.Events.Event(app, "Warning", "Overridden", "%s", o)
		}
	}
	for _, o := range app.Status.Overrides {
		if !slices.Contains(plan.overrides, o) {
			r.Events.Event(app, "Normal", "OverrideEnded", "git's word is put back: %s", o)
		}
	}
}

// keptOverride is how long an override is kept past its end, for people to see. Up to its
// end it has to be kept in any case: its signature is good for one use.
const keptOverride = 24 * time.Hour

// overrideController deletes overrides a while after their end.
func (r *Reconciler) overrideController() loop.Controller {
	return loop.Controller{
		Name: "override", Watches: []loop.Watch{{List: &v1alpha1.OverrideList{}}},
		Reconcile: func(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
			var o v1alpha1.Override
			if err := r.Client.Get(ctx, key, &o); err != nil {
				return loop.Result{}, client.IgnoreNotFound(err)
			}
			if left := o.Spec.Until.Add(keptOverride).Sub(r.Now()); left > 0 {
				return loop.Result{After: left}, nil
			}
			return loop.Result{}, client.IgnoreNotFound(r.Client.Delete(ctx, &o))
		},
	}
}
