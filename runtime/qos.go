package runtime

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// qosOf is the pod's quality of service class, by Kubernetes' rule: Guaranteed if every
// container's limits of CPU and memory are its requests, BestEffort if none has any.
func qosOf(s *corev1.PodSpec) corev1.PodQOSClass {
	guaranteed, any := true, false
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, request := c.Resources.Limits[name], c.Resources.Requests[name]
			if request.IsZero() {
				request = limit
			}
			any = any || !limit.IsZero() || !request.IsZero()
			guaranteed = guaranteed && !limit.IsZero() && limit.Cmp(request) == 0
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// oomScore is how eagerly the kernel ends a container when the machine's memory is
// short: the kubelet's order, BestEffort first, and among the Burstable those first
// that asked for the smallest part of the machine's memory. It is always above the
// agent's own 0, so that no container outlives the agent.
func oomScore(pod *corev1.Pod, c *corev1.Container, machine int64) int {
	switch qosOf(&pod.Spec) {
	case corev1.PodQOSGuaranteed:
		return 1
	case corev1.PodQOSBestEffort:
		return 1000
	}
	request, ok := c.Resources.Requests[corev1.ResourceMemory]
	if !ok {
		request = c.Resources.Limits[corev1.ResourceMemory]
	}
	if machine <= 0 {
		return 999
	}
	return int(min(max(1000-1000*request.Value()/machine, 2), 999))
}
