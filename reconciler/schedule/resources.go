package schedule

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// amount is a quantity as a number: thousandths of a cpu, else whole units.
func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// request is what a pod asks for: the sum of its containers, or the most that one of
// its init containers asks for where that is more, since those run before, one by one.
func request(pod *corev1.Pod, name corev1.ResourceName) int64 {
	var sum, most int64
	for _, c := range pod.Spec.Containers {
		if q, ok := c.Resources.Requests[name]; ok {
			sum += amount(name, q)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		q, ok := c.Resources.Requests[name]
		switch {
		case !ok:
		case c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways:
			sum += amount(name, q)
		default:
			most = max(most, amount(name, q))
		}
	}
	return max(sum, most)
}

func used(name corev1.ResourceName, pods []*corev1.Pod) int64 {
	var sum int64
	for _, p := range pods {
		sum += request(p, name)
	}
	return sum
}

// shortOf lists the resources that a node has too little of. One that the node does not
// have at all is not there, as in Kubernetes.
func shortOf(pod *corev1.Pod, n *corev1.Node, there []*corev1.Pod) []string {
	names := map[corev1.ResourceName]bool{}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			for name := range c.Resources.Requests {
				names[name] = true
			}
		}
	}
	var whys []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		asked := request(pod, name)
		if total := n.Status.Allocatable[name]; asked > 0 && used(name, there)+asked > amount(name, total) {
			whys = append(whys, "Insufficient "+string(name))
		}
	}
	if limit, ok := n.Status.Allocatable[corev1.ResourcePods]; ok && int64(len(there)+1) > limit.Value() {
		whys = append(whys, "Too many pods")
	}
	return whys
}
