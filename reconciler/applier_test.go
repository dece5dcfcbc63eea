package reconciler_test

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state"
)

// many is live state as an Applier, as cmd wires it.
type many struct{ *state.Client }

func (m many) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Applied {
	results := m.Client.ApplyMany(ctx, objects, o)
	out := make([]reconciler.Applied, len(results))
	for i, r := range results {
		out[i] = reconciler.Applied(r)
	}
	return out
}

func (m many) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Prepared {
	out := make([]reconciler.Prepared, len(objects))
	for i, p := range m.Client.Prepare(ctx, objects, o) {
		out[i] = reconciler.Prepared{Before: p.Before, Changed: p.Changed, Err: p.Err, After: p.After, Handle: p}
	}
	return out
}

func (m many) Commit(ctx context.Context, handles []any) []reconciler.Committed {
	prepared := make([]*state.Prepared, len(handles))
	for i, h := range handles {
		prepared[i] = h.(*state.Prepared)
	}
	out := make([]reconciler.Committed, len(handles))
	for i, r := range m.Client.Commit(ctx, prepared) {
		out[i] = reconciler.Committed(r)
	}
	return out
}
