package dashboardtest

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// Metrics is a dashboard.MetricsSource of the shop: every container uses a quarter of a
// core and 96 MiB, a node one and a half and 2 GiB. A pod that nobody knows of is
// measured, too.
type Metrics struct{}

// PodMetrics implements dashboard.MetricsSource.
func (Metrics) PodMetrics(context.Context) ([]api.PodMetrics, error) {
	var all []api.PodMetrics
	for _, name := range []string{"frontend-7-9tq7w", "frontend-7-4kx2p", "backend-3-h7n4d", "unknown"} {
		all = append(all, api.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: name},
			Containers: []api.ContainerMetrics{{Name: "web", Usage: usage("250000000n", "96Mi")}},
		})
	}
	return all, nil
}

// NodeMetrics implements dashboard.MetricsSource.
func (Metrics) NodeMetrics(context.Context) ([]api.NodeMetrics, error) {
	return []api.NodeMetrics{{ObjectMeta: metav1.ObjectMeta{Name: "dock-1"}, Usage: usage("1500m", "2Gi")}}, nil
}

func usage(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}
