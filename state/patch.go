package state

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch implements client.Writer for JSON, merge, strategic merge and apply patches. A patch
// that sets metadata.resourceVersion fails with a Conflict where the object has another; any other patch
// is tried again on what won the race. Only an apply patch creates.
func (c *Client) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	o := client.PatchOptions{}
	o.ApplyOptions(opts)
	return c.patch(ctx, obj, obj, patch, o, false)
}

func (c *Client) patch(ctx context.Context, obj, body client.Object, patch client.Patch, o client.PatchOptions, status bool) error {
	dry, err := dryRun(o.DryRun)
	if err != nil {
		return err
	}
	t, err := c.locate(obj)
	if err != nil {
		return err
	}
	data, err := patch.Data(body)
	if err != nil {
		return fmt.Errorf("patch %s: %w", t, err)
	}
	w := write{target: t, verb: "patch", status: status, dryRun: dry, manager: o.FieldManager}
	if patch.Type() == types.ApplyPatchType {
		return c.apply(ctx, w, data, o.Force != nil && *o.Force, obj)
	}
	if o.Force != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("patch %s: force is for apply patches only", t))
	}
	w.change = func(live client.Object) (client.Object, error) {
		if live == nil {
			return nil, t.notFound()
		}
		return t.patched(live, patch.Type(), data)
	}
	return c.run(ctx, w, obj)
}

// patched applies a patch to live's JSON.
func (t target) patched(live client.Object, kind types.PatchType, data []byte) (client.Object, error) {
	before, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	after, err := patchJSON(before, kind, data, live)
	if err != nil {
		return nil, t.unpatchable(err)
	}
	next := t.new()
	if err := decode(t.kindInfo, after, 0, next); err != nil {
		return nil, t.unpatchable(err)
	}
	if next.GetName() != live.GetName() || next.GetNamespace() != live.GetNamespace() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("patch %s: name and namespace cannot change", t))
	}
	return next, nil
}

func patchJSON(before []byte, kind types.PatchType, data []byte, schema client.Object) ([]byte, error) {
	switch kind {
	case types.JSONPatchType:
		p, err := jsonpatch.DecodePatch(data)
		if err != nil {
			return nil, err
		}
		return p.Apply(before)
	case types.MergePatchType:
		return jsonpatch.MergePatch(before, data)
	case types.StrategicMergePatchType:
		return strategicpatch.StrategicMergePatch(before, data, schema)
	}
	return nil, fmt.Errorf("patch type %q is not known", kind)
}

// unpatchable is what Kubernetes answers; for sealed kinds without the cause, that may quote them.
func (t target) unpatchable(err error) error {
	if t.Sealed {
		err = fmt.Errorf("the patch does not fit the object")
	}
	e := apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", t.GroupResource(), t.name.Name, err.Error(), 0, true)
	e.ErrStatus.Reason = metav1.StatusReasonInvalid
	e.ErrStatus.Message = fmt.Sprintf("patch %s: %v", t, err)
	return e
}
