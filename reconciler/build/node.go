package build

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"slipway.dev/slipway/api"
)

// node is the ready node with the fewest running builds that the build's selector
// allows; empty: none.
func (c *Controller) node(ctx context.Context, b *buildv1.Build) (string, error) {
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil {
		return "", fmt.Errorf("read the nodes: %w", err)
	}
	var builds buildv1.BuildList
	if err := c.Client.List(ctx, &builds); err != nil {
		return "", fmt.Errorf("read the builds: %w", err)
	}
	return pickNode(b, nodes.Items, builds.Items), nil
}

func pickNode(b *buildv1.Build, nodes []corev1.Node, builds []buildv1.Build) string {
	busy := map[string]int{}
	for _, other := range builds {
		if active(&other) {
			busy[other.Annotations[api.NodeAnnotation]]++
		}
	}
	selector := labels.SelectorFromSet(labels.Set(b.Spec.NodeSelector))
	fit := slices.DeleteFunc(slices.Clone(nodes), func(n corev1.Node) bool {
		return n.Spec.Unschedulable || n.Annotations[api.NodeBuilds] == "false" || !ready(n) || !selector.Matches(labels.Set(n.Labels))
	})
	if len(fit) == 0 {
		return ""
	}
	return slices.MinFunc(fit, func(x, y corev1.Node) int {
		return cmp.Or(cmp.Compare(busy[x.Name], busy[y.Name]), cmp.Compare(x.Name, y.Name))
	}).Name
}

func ready(n corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
