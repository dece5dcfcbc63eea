package health

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// pod is kstatus' rule, which only knows that a pod is pending, with what it waits for. One
// that ended in failure is Failed, as in Argo CD: who put it into git wanted it to succeed.
func pod(u *unstructured.Unstructured) Health {
	h := generic(u)
	var p corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p); err != nil {
		return Health{Unknown, err.Error()}
	}
	if p.Status.Phase == corev1.PodFailed {
		return failed("%s", cmp.Or(p.Status.Message, p.Status.Reason, "has ended in failure"))
	}
	if h.State != Current {
		h.Message = cmp.Or(awaited(&p), h.Message)
	}
	return h
}

// awaited is what keeps a pod from running, in the words of its status.
func awaited(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
			return "is not scheduled: " + c.Message
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Message != "" {
			return w.Reason + ": " + w.Message
		}
	}
	return ""
}
