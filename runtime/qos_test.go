package runtime

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func list(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func TestTheQualityOfServiceAndWhoGoesFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		requests, limits corev1.ResourceList
		class            corev1.PodQOSClass
		score            int
	}{
		"nothing":             {class: corev1.PodQOSBestEffort, score: 1000},
		"limits alone":        {limits: list("1", "1Gi"), class: corev1.PodQOSGuaranteed, score: 1},
		"requests as limits":  {requests: list("1000m", "1Gi"), limits: list("1", "1024Mi"), class: corev1.PodQOSGuaranteed, score: 1},
		"memory alone":        {limits: list("", "1Gi"), class: corev1.PodQOSBurstable, score: 750},
		"requests alone":      {requests: list("1", "2Gi"), class: corev1.PodQOSBurstable, score: 500},
		"a small request":     {requests: list("", "1Ki"), class: corev1.PodQOSBurstable, score: 999},
		"more than there is":  {requests: list("", "8Gi"), class: corev1.PodQOSBurstable, score: 2},
		"less than the limit": {requests: list("1", "1Gi"), limits: list("2", "1Gi"), class: corev1.PodQOSBurstable, score: 750},
	} {
		main := corev1.Container{Name: "main", Resources: corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{main}}}
		if got := qosOf(&pod.Spec); got != c.class {
			t.Errorf("%s: %s, not %s", name, got, c.class)
		}
		if got := oomScore(pod, &main, 4<<30); got != c.score {
			t.Errorf("%s: score %d, not %d", name, got, c.score)
		}
	}
	one := corev1.Container{Resources: corev1.ResourceRequirements{Limits: list("1", "1Gi")}}
	if got := qosOf(&corev1.PodSpec{Containers: []corev1.Container{one}, InitContainers: []corev1.Container{{}}}); got != corev1.PodQOSBurstable {
		t.Errorf("with an init container without limits: %s", got)
	}
}
