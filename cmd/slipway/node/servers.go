package node

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// servers notes where servers are, also those that came after this node: they say so in their Nodes.
func (r *running) servers() loop.Controller {
	return loop.Controller{
		Name:    "node-servers",
		Watches: []loop.Watch{{List: &corev1.NodeList{}, Keys: func(client.Object) []loop.Key { return []loop.Key{{}} }}},
		Reconcile: func(ctx context.Context, _ loop.Key) (loop.Result, error) {
			var nodes corev1.NodeList
			if err := r.mirror.List(ctx, &nodes); err != nil {
				return loop.Result{}, err
			}
			return loop.Result{}, r.identity.SetFound(announced(nodes.Items))
		},
	}
}

// announced are the servers that Nodes name, in order.
func announced(nodes []corev1.Node) []string {
	var found []string
	for i := range nodes {
		if at := nodes[i].Annotations[api.NodeServer]; at != "" {
			found = append(found, at)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
