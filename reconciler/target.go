package reconciler

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Applied is what became of one object of ApplyMany.
type Applied struct {
	// Object is the object as it is now, or as a dry run would have left it.
	Object *unstructured.Unstructured
	// Before is the object as it was; nil: it did not exist.
	Before *unstructured.Unstructured
	// Changed: it was written, or would have been.
	Changed bool
	// Err is what a single apply would have answered.
	Err error
}

// Prepared is what applying one object would do.
type Prepared struct {
	// Before is the object as it is; nil: it does not exist.
	Before *unstructured.Unstructured
	// Changed: it would be written.
	Changed bool
	// Err is what a single apply would have answered.
	Err error
	// After is the object as it would be.
	After func() (*unstructured.Unstructured, error)
	// Handle is by what the Applier knows it again.
	Handle any
}

// Committed is what became of one object of Commit.
type Committed struct {
	// ResourceVersion of what is live now.
	ResourceVersion string
	// Err is what a single apply would have answered.
	Err error
}

// Applier applies many objects at once, each as client.Apply would. It answers in the order
// of the objects, leaves them as they are, and one that fails touches no other.
type Applier interface {
	ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []Applied
	// Prepare works out what ApplyMany would do, and writes nothing.
	Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []Prepared
	// Commit carries out what was prepared, by its handles. What somebody else has changed
	// since is applied anew.
	Commit(ctx context.Context, handles []any) []Committed
}

// outcome is what applying one object does, in the words of fluxcd/pkg/ssa.
type outcome struct {
	action ssa.Action
	// before is nil for an object that does not exist. After a comparison that found a
	// change, after is what the object would be.
	before, after *unstructured.Unstructured
	// prepared is what a comparison leaves for the apply; nil: nothing.
	prepared any
	// version is the resourceVersion after an apply; empty: not known.
	version string
	err     error
}

// target is where desired objects are compared and applied. Outcomes come in the order of
// the objects, which are left as they are.
type target interface {
	compare(ctx context.Context, objects []*unstructured.Unstructured) []outcome
	apply(ctx context.Context, pieces []piece) []outcome
}

// piece is what is to be applied of one object.
type piece struct {
	object *unstructured.Unstructured
	// prepared is what comparing this very object left; nil: nothing.
	prepared any
}

// batches is Slipway's own live state: objects are compared and applied many at a time. Its
// verdicts are those of managed, which a test holds them against.
type batches struct{ applier Applier }

func (b batches) compare(ctx context.Context, objects []*unstructured.Unstructured) []outcome {
	out := make([]outcome, len(objects))
	for i, r := range b.applier.Prepare(ctx, objects, applyOptions()) {
		out[i] = outcome{action: ssa.UnchangedAction, before: r.Before, prepared: r.Handle, err: r.Err}
		switch {
		case r.Err != nil:
			out[i].action = ssa.UnknownAction
		case r.Before == nil:
			out[i].action = ssa.CreatedAction
		case r.Changed:
			out[i].after, out[i].err = r.After()
			if out[i].err != nil {
				out[i].action = ssa.UnknownAction
			} else if drifted(r.Before, out[i].after) {
				out[i].action = ssa.ConfiguredAction
			}
		}
	}
	return out
}

func applyOptions() client.ApplyOptions {
	force := true
	return client.ApplyOptions{FieldManager: FieldManager, Force: &force}
}

func (b batches) apply(ctx context.Context, pieces []piece) []outcome {
	out := make([]outcome, len(pieces))
	var handles []any
	var objects []*unstructured.Unstructured
	// of are the numbers of the prepared pieces, anew those of the others.
	var of, anew []int
	for i, p := range pieces {
		if p.prepared != nil {
			handles, of = append(handles, p.prepared), append(of, i)
		} else {
			objects, anew = append(objects, p.object), append(anew, i)
		}
	}
	if len(handles) > 0 {
		for i, r := range b.applier.Commit(ctx, handles) {
			out[of[i]] = outcome{version: r.ResourceVersion, err: r.Err}
		}
	}
	if len(objects) > 0 {
		for i, r := range b.applier.ApplyMany(ctx, objects, applyOptions()) {
			out[anew[i]] = outcome{err: r.Err}
			if r.Object != nil {
				out[anew[i]].version = r.Object.GetResourceVersion()
			}
		}
	}
	return out
}

// drifted says whether two states of an object differ in what git can declare: labels,
// annotations, and all that is neither metadata nor status.
func drifted(a, b *unstructured.Unstructured) bool {
	if !equality.Semantic.DeepEqual(a.GetLabels(), b.GetLabels()) || !equality.Semantic.DeepEqual(a.GetAnnotations(), b.GetAnnotations()) {
		return true
	}
	for _, pair := range [][2]map[string]any{{a.Object, b.Object}, {b.Object, a.Object}} {
		for k, v := range pair[0] {
			if k != "metadata" && k != "status" && !equality.Semantic.DeepEqual(v, pair[1][k]) {
				return true
			}
		}
	}
	return false
}

// managed is any API that serves server-side apply, such as Kubernetes': objects are
// compared and applied one at a time by fluxcd/pkg/ssa.
type managed struct {
	rm     *ssa.ResourceManager
	client client.Client
}

func newManaged(c client.Client) managed {
	return managed{client: c, rm: ssa.NewResourceManager(c, nil, ssa.Owner{Field: FieldManager, Group: ownerGroup})}
}

func (m managed) compare(ctx context.Context, objects []*unstructured.Unstructured) []outcome {
	out := make([]outcome, len(objects))
	for i, o := range objects {
		out[i] = m.compareOne(ctx, o)
	}
	return out
}

func (m managed) compareOne(ctx context.Context, o *unstructured.Unstructured) outcome {
	live, err := read(ctx, m.client, refOf(o))
	if err != nil {
		return outcome{action: ssa.UnknownAction, err: err}
	}
	change, before, after, err := m.rm.Diff(ctx, o.DeepCopy(), ssa.DefaultDiffOptions())
	if apierrors.IsNotFound(err) && live == nil {
		// Its namespace does not exist yet: the same plan, or another Application, makes it.
		return outcome{action: ssa.CreatedAction, after: o}
	}
	if err != nil {
		return outcome{action: ssa.UnknownAction, before: live, err: err}
	}
	if before != nil {
		// Of a Secret both states are masked alike.
		live = before
	}
	return outcome{action: change.Action, before: live, after: after}
}

func (m managed) apply(ctx context.Context, pieces []piece) []outcome {
	out := make([]outcome, len(pieces))
	for i, p := range pieces {
		change, err := m.rm.Apply(ctx, p.object.DeepCopy(), ssa.DefaultApplyOptions())
		if err != nil {
			out[i] = outcome{action: ssa.UnknownAction, err: err}
			continue
		}
		out[i] = outcome{action: change.Action}
	}
	return out
}

// read reads an object; nil when there is none. A read that failed is an error, never an
// absence.
func read(ctx context.Context, c client.Reader, ref inventoryRef) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(ref.GroupVersionKind)
	err := c.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s/%s: %w", ref.Kind, ref.Name, err)
	}
	return o, nil
}
