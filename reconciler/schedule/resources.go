package schedule

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresources "k8s.io/component-helpers/resource"
)

// What a container without a request counts for when nodes are scored, as in Kubernetes.
var assumedRequests = corev1.ResourceList{
	corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("200Mi"),
}

// amounts of resources: thousandths of a cpu, bytes, else whole units.
type amounts struct {
	cpu, memory, ephemeral int64
	others                 map[corev1.ResourceName]int64
}

func amountsOf(l corev1.ResourceList) amounts {
	var a amounts
	for name, q := range l {
		switch name {
		case corev1.ResourceCPU:
			a.cpu = q.MilliValue()
		case corev1.ResourceMemory:
			a.memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			a.ephemeral = q.Value()
		default:
			if a.others == nil {
				a.others = map[corev1.ResourceName]int64{}
			}
			a.others[name] = q.Value()
		}
	}
	return a
}

// add adds b as often as n says, which may be negative.
func (a *amounts) add(b amounts, n int64) {
	a.cpu += n * b.cpu
	a.memory += n * b.memory
	a.ephemeral += n * b.ephemeral
	for name, v := range b.others {
		if a.others == nil {
			a.others = map[corev1.ResourceName]int64{}
		}
		a.others[name] += n * v
	}
}

// requests is what a pod asks for: the sum of its containers and sidecars, or the most that an init
// container needs while it runs where that is more, and the pod's overhead.
func requests(pod *corev1.Pod) amounts {
	return amountsOf(podresources.PodRequests(pod, podresources.PodResourcesOptions{}))
}

// scored is what a pod counts for when nodes are scored.
func scored(pod *corev1.Pod) (cpu, memory int64) {
	l := podresources.PodRequests(pod, podresources.PodResourcesOptions{NonMissingContainerRequests: assumedRequests})
	return l.Cpu().MilliValue(), l.Memory().Value()
}

// fits says that a node has room for what is asked for, pods aside.
func (h *host) fits(asked amounts) bool {
	a, u := &h.allocatable, &h.used
	if asked.cpu > 0 && u.cpu+asked.cpu > a.cpu || asked.memory > 0 && u.memory+asked.memory > a.memory ||
		asked.ephemeral > 0 && u.ephemeral+asked.ephemeral > a.ephemeral || h.full() {
		return false
	}
	for name, v := range asked.others {
		if v > 0 && u.others[name]+v > a.others[name] {
			return false
		}
	}
	return true
}

// full says that no more pods may be on a node; one that does not say how many has no limit.
func (h *host) full() bool {
	limit, ok := h.allocatable.others[corev1.ResourcePods]
	return ok && int64(len(h.pods))+1 > limit
}

// short adds what a node has too little of. A resource that a node does not have at all is not there.
func (h *host) short(asked amounts, whys []string) []string {
	a, u := &h.allocatable, &h.used
	if h.full() {
		whys = append(whys, "Too many pods")
	}
	for _, r := range []struct {
		why              string
		want, used, have int64
	}{
		{"Insufficient cpu", asked.cpu, u.cpu, a.cpu}, {"Insufficient memory", asked.memory, u.memory, a.memory},
		{"Insufficient ephemeral-storage", asked.ephemeral, u.ephemeral, a.ephemeral},
	} {
		if r.want > 0 && r.used+r.want > r.have {
			whys = append(whys, r.why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(asked.others)) {
		if v := asked.others[name]; v > 0 && u.others[name]+v > a.others[name] {
			whys = append(whys, "Insufficient "+string(name))
		}
	}
	return whys
}
