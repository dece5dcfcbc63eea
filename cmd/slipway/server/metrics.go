package server

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// metrics are what this node and its pods use.
type metrics struct{ s *server }

func (m metrics) PodMetrics(ctx context.Context) ([]api.PodMetrics, error) {
	measured, err := m.s.parts.agent.PodMetrics(ctx)
	var all []api.PodMetrics
	for key, containers := range measured {
		p := api.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		for _, c := range containers {
			p.Containers = append(p.Containers, api.ContainerMetrics{Name: c.Name, Usage: used(c.CPU, c.Memory)})
		}
		all = append(all, p)
	}
	return all, err
}

func (m metrics) NodeMetrics(ctx context.Context) ([]api.NodeMetrics, error) {
	n, err := m.s.parts.agent.NodeMetrics(ctx)
	if err != nil {
		return nil, err
	}
	return []api.NodeMetrics{{ObjectMeta: metav1.ObjectMeta{Name: m.s.cfg.Node}, Usage: used(n.CPU, n.Memory)}}, nil
}

// used: nanocores and bytes.
func used(cpu, memory int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(cpu, resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
	}
}
