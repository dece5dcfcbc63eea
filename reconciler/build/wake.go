package build

import (
	"context"
	"fmt"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// reconcileStream wakes the configurations that build from, or into, an image stream.
// It is a loop of its own so that a failed read is tried again and no change is lost.
func (c *Controller) reconcileStream(ctx context.Context, stream types.NamespacedName) (loop.Result, error) {
	var list buildv1.BuildConfigList
	if err := c.Client.List(ctx, &list); err != nil {
		return loop.Result{}, fmt.Errorf("read the build configurations: %w", err)
	}
	for _, bc := range list.Items {
		if uses(&bc, stream) {
			c.wakeUp(ctx, client.ObjectKeyFromObject(&bc))
		}
	}
	return loop.Result{}, nil
}

// reconcileNode wakes the configurations whose builds are bound to a node that went.
func (c *Controller) reconcileNode(ctx context.Context, node types.NamespacedName) (loop.Result, error) {
	var list buildv1.BuildList
	if err := c.Client.List(ctx, &list); err != nil {
		return loop.Result{}, fmt.Errorf("read the builds: %w", err)
	}
	for _, b := range list.Items {
		if active(&b) && b.Annotations[api.NodeAnnotation] == node.Name {
			for _, key := range configKey(&b) {
				c.wakeUp(ctx, key)
			}
		}
	}
	return loop.Result{}, nil
}

func (c *Controller) wakeUp(ctx context.Context, key loop.Key) {
	select {
	case <-ctx.Done():
	case c.wake <- key:
	}
}

func uses(bc *buildv1.BuildConfig, stream types.NamespacedName) bool {
	refs := imageTriggers(bc)
	add := func(ref *corev1.ObjectReference) {
		if ref != nil && ref.Kind != kindDocker {
			refs = append(refs, *ref)
		}
	}
	add(strategyFrom(bc.Spec.Strategy))
	add(bc.Spec.Output.To)
	for i := range bc.Spec.Source.Images {
		add(&bc.Spec.Source.Images[i].From)
	}
	return slices.ContainsFunc(refs, func(r corev1.ObjectReference) bool { return streamOf(r, bc.Namespace) == stream })
}
