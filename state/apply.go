package state

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"
)

// Apply implements client.Writer: server-side apply of an apply configuration.
func (c *Client) Apply(ctx context.Context, config runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	o := client.ApplyOptions{}
	o.ApplyOptions(opts)
	return c.applyConfiguration(ctx, config, config, o, false)
}

func (c *Client) applyConfiguration(ctx context.Context, config, body runtime.ApplyConfiguration, o client.ApplyOptions, status bool) error {
	dry, err := dryRun(o.DryRun)
	if err != nil {
		return err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	id := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &id.Object); err != nil {
		return err
	}
	t, err := c.locate(id)
	if err != nil {
		return err
	}
	w := write{target: t, verb: "apply", status: status, dryRun: dry, manager: o.FieldManager}
	if err := c.apply(ctx, w, data, o.Force != nil && *o.Force, id); err != nil {
		return err
	}
	if u, ok := config.(runtime.Unstructured); ok {
		u.SetUnstructuredContent(id.Object)
		return nil
	}
	if data, err = json.Marshal(id); err != nil {
		return err
	}
	return json.Unmarshal(data, config)
}

// apply merges data, a manifest of the fields that the manager wants to own, into the object, and
// creates it where it does not exist. Fields that another manager owns with another value are a
// Conflict unless forced.
func (c *Client) apply(ctx context.Context, w write, data []byte, force bool, out client.Object) error {
	manifest := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &manifest.Object); err != nil {
		return w.unpatchable(err)
	}
	w, err := w.applying(manifest, force)
	if err != nil {
		return err
	}
	return c.run(ctx, w, out)
}

// applying is the write that applies manifest, which it takes over.
func (w write) applying(manifest *unstructured.Unstructured, force bool) (write, error) {
	if w.manager == "" {
		return w, apierrors.NewBadRequest(fmt.Sprintf("apply %s: a field manager is required", w.target))
	}
	if manifest.GetManagedFields() != nil {
		return w, apierrors.NewBadRequest(fmt.Sprintf("apply %s: metadata.managedFields must be nil", w.target))
	}
	w.narrow(manifest)
	fields, err := w.fields(w.status)
	if err != nil {
		return w, err
	}
	w.tracked = true
	w.change = func(live client.Object) (client.Object, error) {
		if live == nil {
			if manifest.GetUID() != "" || w.status {
				return nil, w.notFound()
			}
			live = w.new()
		}
		next, err := fields.Apply(live, manifest.DeepCopy(), w.manager, force)
		if err != nil {
			return nil, w.unappliable(err)
		}
		return next.(client.Object), nil
	}
	return w, nil
}

// narrow leaves in a manifest what this write is about.
func (w write) narrow(m *unstructured.Unstructured) {
	m.SetGroupVersionKind(w.GroupVersionKind)
	unstructured.RemoveNestedField(m.Object, "metadata", "creationTimestamp")
	if !w.status {
		if w.hasStatus() {
			delete(m.Object, "status")
		}
		return
	}
	only := &unstructured.Unstructured{Object: map[string]any{}}
	only.SetGroupVersionKind(w.GroupVersionKind)
	only.SetName(m.GetName())
	only.SetNamespace(m.GetNamespace())
	only.SetUID(m.GetUID())
	only.SetResourceVersion(m.GetResourceVersion())
	if s, ok := m.Object["status"]; ok {
		only.Object["status"] = s
	}
	m.Object = only.Object
}

// unappliable keeps conflicts, which name managers and fields, and explains the rest; for sealed kinds
// without the cause, that may quote them.
func (t target) unappliable(err error) error {
	if status, ok := err.(apierrors.APIStatus); ok {
		if s := status.Status(); s.Reason == metav1.StatusReasonConflict {
			if t.Sealed {
				return t.conflict("another field manager owns some of the fields")
			}
			if s.Details == nil {
				s.Details = &metav1.StatusDetails{}
			}
			s.Details.Name, s.Details.Group, s.Details.Kind = t.name.Name, t.Group, t.Resource
			return &apierrors.StatusError{ErrStatus: s}
		}
	}
	if t.Sealed {
		err = fmt.Errorf("the manifest does not fit the kind's schema")
	}
	return apierrors.NewBadRequest(fmt.Sprintf("apply %s: %v", t, err))
}
