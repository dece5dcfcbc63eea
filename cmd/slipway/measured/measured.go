// Package measured is what an agent measures, as metrics.k8s.io shows it.
package measured

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime"
)

// Pods are what the pods of an agent's node use.
func Pods(ctx context.Context, a *runtime.Agent) ([]api.PodMetrics, error) {
	measured, err := a.PodMetrics(ctx)
	all := []api.PodMetrics{}
	for key, containers := range measured {
		p := api.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		for _, c := range containers {
			p.Containers = append(p.Containers, api.ContainerMetrics{Name: c.Name, Usage: used(c.CPU, c.Memory)})
		}
		all = append(all, p)
	}
	return all, err
}

// Node is what an agent's node uses.
func Node(ctx context.Context, a *runtime.Agent) (api.NodeMetrics, error) {
	n, err := a.NodeMetrics(ctx)
	return api.NodeMetrics{ObjectMeta: metav1.ObjectMeta{Name: a.Node}, Usage: used(n.CPU, n.Memory)}, err
}

// used: nanocores and bytes.
func used(cpu, memory int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(cpu, resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
	}
}
