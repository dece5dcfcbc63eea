package server

import (
	"context"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/reconciler/image"
	"slipway.dev/slipway/registry"
	"slipway.dev/slipway/render"
)

// The parts do not know each other; these make one fit what another asks for.

type renderer struct{ *render.Renderer }

func (r renderer) Render(ctx context.Context, x reconciler.Rendering) (api.Desired, error) {
	return r.Renderer.Render(ctx, render.Request(x))
}

type sink struct{ image.Sink }

func (s sink) Pushed(ctx context.Context, p registry.Push) error {
	return s.Sink.Pushed(ctx, image.Push{
		Repository: p.Repository, Tag: p.Tag, Digest: p.Digest, MediaType: p.MediaType, Manifest: p.Manifest, Config: p.Config,
	})
}
