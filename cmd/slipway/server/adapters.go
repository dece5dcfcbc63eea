package server

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/reconciler/image"
	"slipway.dev/slipway/registry"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/state"
)

// The parts do not know each other; these make one fit what another asks for.

type renderer struct{ *render.Renderer }

func (r renderer) Render(ctx context.Context, x reconciler.Rendering) (api.Desired, error) {
	return r.Renderer.Render(ctx, render.Request(x))
}

// applier is live state that applies many objects at once.
type applier struct{ *state.Client }

func (a applier) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Applied {
	results := a.Client.ApplyMany(ctx, objects, o)
	out := make([]reconciler.Applied, len(results))
	for i, r := range results {
		out[i] = reconciler.Applied(r)
	}
	return out
}

func (a applier) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Prepared {
	out := make([]reconciler.Prepared, len(objects))
	for i, p := range a.Client.Prepare(ctx, objects, o) {
		out[i] = reconciler.Prepared{Before: p.Before, Changed: p.Changed, Err: p.Err, After: p.After, Handle: p}
	}
	return out
}

func (a applier) Commit(ctx context.Context, handles []any) []reconciler.Committed {
	prepared := make([]*state.Prepared, len(handles))
	for i, h := range handles {
		prepared[i], _ = h.(*state.Prepared)
	}
	out := make([]reconciler.Committed, len(handles))
	for i, r := range a.Client.Commit(ctx, prepared) {
		out[i] = reconciler.Committed(r)
	}
	return out
}

type sink struct{ image.Sink }

func (s sink) Pushed(ctx context.Context, p registry.Push) error {
	return s.Sink.Pushed(ctx, image.Push{
		Repository: p.Repository, Tag: p.Tag, Digest: p.Digest, MediaType: p.MediaType, Manifest: p.Manifest, Config: p.Config,
	})
}
