package state

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Status implements client.StatusClient: its writes change the status and nothing else.
func (c *Client) Status() client.SubResourceWriter { return c.SubResource("status") }

// SubResource implements client.SubResourceClientConstructor. "status" is the only one there is; any
// other answers NotFound.
func (c *Client) SubResource(name string) client.SubResourceClient { return subResource{c, name} }

type subResource struct {
	c    *Client
	name string
}

func (s subResource) check(verb string, obj client.Object) error {
	if s.name == "status" && verb != "create" && verb != "get" {
		return nil
	}
	k, err := kindOf(obj)
	if err != nil {
		return err
	}
	return apierrors.NewGenericServerResponse(http.StatusNotFound, verb, k.GroupResource(), obj.GetName(),
		fmt.Sprintf("%s %s of a %s is not served", verb, s.name, k.Kind.Kind), 0, true)
}

func (s subResource) Get(_ context.Context, obj, _ client.Object, _ ...client.SubResourceGetOption) error {
	return s.check("get", obj)
}

func (s subResource) Create(_ context.Context, obj, _ client.Object, _ ...client.SubResourceCreateOption) error {
	return s.check("create", obj)
}

func (s subResource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := s.check("update", obj); err != nil {
		return err
	}
	o := client.SubResourceUpdateOptions{}
	o.ApplyOptions(opts)
	body := obj
	if o.SubResourceBody != nil {
		body = o.SubResourceBody
	}
	return s.c.update(ctx, obj, body, o.UpdateOptions, true)
}

func (s subResource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := s.check("patch", obj); err != nil {
		return err
	}
	o := client.SubResourcePatchOptions{}
	o.ApplyOptions(opts)
	body := obj
	if o.SubResourceBody != nil {
		body = o.SubResourceBody
	}
	return s.c.patch(ctx, obj, body, patch, o.PatchOptions, true)
}

func (s subResource) Apply(ctx context.Context, config runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	if s.name != "status" {
		return apierrors.NewBadRequest(fmt.Sprintf("apply %s: only status is served", s.name))
	}
	o := client.SubResourceApplyOptions{}
	o.ApplyOpts(opts)
	body := config
	if o.SubResourceBody != nil {
		body = o.SubResourceBody
	}
	return s.c.applyConfiguration(ctx, config, body, o.ApplyOptions, true)
}
