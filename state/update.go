package state

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How generateName makes names, and how often it tries.
const (
	generatedSuffix = 5
	generatedBase   = 63 - generatedSuffix
	generateTries   = 8
)

// Create implements client.Writer. A status is dropped, except of the kinds whose servers keep it
// (Build, Node, Project). A dry run answers without a resourceVersion.
func (c *Client) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	o := client.CreateOptions{}
	o.ApplyOptions(opts)
	dry, err := dryRun(o.DryRun)
	if err != nil {
		return err
	}
	k, err := kindOf(obj)
	if err != nil {
		return err
	}
	if obj.GetResourceVersion() != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s %s: resourceVersion must not be set on an object to be created", k.Kind.Kind, obj.GetName()))
	}
	want, err := typed(k, obj)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	generate := want.GetName() == "" && want.GetGenerateName() != ""
	for try := 1; ; try++ {
		if generate {
			base := want.GetGenerateName()
			want.SetName(base[:min(len(base), generatedBase)] + utilrand.String(generatedSuffix))
		}
		err := c.create(ctx, k, want, write{verb: "create", dryRun: dry, manager: o.FieldManager}, obj)
		if !generate || try == generateTries || !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
}

func (c *Client) create(ctx context.Context, k *kindInfo, want client.Object, w write, out client.Object) (err error) {
	if w.target, err = c.target(k, client.ObjectKeyFromObject(want)); err != nil {
		return err
	}
	w.change = func(live client.Object) (client.Object, error) {
		if live != nil {
			return nil, apierrors.NewAlreadyExists(k.GroupResource(), w.name.Name)
		}
		return want.DeepCopyObject().(client.Object), nil
	}
	return c.run(ctx, w, out)
}

// Update implements client.Writer: everything but the status becomes what obj says. With a
// resourceVersion it fails with a Conflict where the object has changed since; without one it
// overwrites.
func (c *Client) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	o := client.UpdateOptions{}
	o.ApplyOptions(opts)
	return c.update(ctx, obj, obj, o, false)
}

func (c *Client) update(ctx context.Context, obj, body client.Object, o client.UpdateOptions, status bool) error {
	dry, err := dryRun(o.DryRun)
	if err != nil {
		return err
	}
	t, err := c.locate(obj)
	if err != nil {
		return err
	}
	want, err := typed(t.kindInfo, body)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	w := write{target: t, verb: "update", status: status, dryRun: dry, manager: o.FieldManager}
	w.change = func(live client.Object) (client.Object, error) {
		if live == nil {
			return nil, t.notFound()
		}
		return want.DeepCopyObject().(client.Object), nil
	}
	return c.run(ctx, w, obj)
}
