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
