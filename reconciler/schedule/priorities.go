package schedule

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// maxScore is the best that a priority gives to a node, before its weight.
const maxScore = 100

// priority scores the nodes that fit, from 0 to maxScore, into out.
type priority struct {
	name   string
	weight int64
	score  func(t *task, fit []*host, out []int64)
}

// priorities are those that have a name of their own, with Kubernetes' formulas.
var priorities = map[string]func(t *task, fit []*host, out []int64){
	"LeastRequestedPriority": func(t *task, fit []*host, out []int64) {
		each(fit, out, func(h *host) int64 {
			cpu, mem := h.scoredCPU+t.self.scoredCPU, h.scoredMem+t.self.scoredMem
			return (share(h.allocatable.cpu-cpu, h.allocatable.cpu) + share(h.allocatable.memory-mem, h.allocatable.memory)) / 2
		})
	},
	"MostRequestedPriority": func(t *task, fit []*host, out []int64) {
		each(fit, out, func(h *host) int64 {
			cpu, mem := h.scoredCPU+t.self.scoredCPU, h.scoredMem+t.self.scoredMem
			return (share(min(cpu, h.allocatable.cpu), h.allocatable.cpu) + share(min(mem, h.allocatable.memory), h.allocatable.memory)) / 2
		})
	},
	"BalancedResourceAllocation":  balanced,
	"SelectorSpreadPriority":      selectorSpread(false),
	"ServiceSpreadingPriority":    selectorSpread(true),
	"NodeAffinityPriority":        nodeAffinity,
	"TaintTolerationPriority":     taintToleration,
	"InterPodAffinityPriority":    interPod,
	"EvenPodsSpreadPriority":      evenSpread,
	"ImageLocalityPriority":       imageLocality,
	"EqualPriority":               func(_ *task, fit []*host, out []int64) { each(fit, out, func(*host) int64 { return maxScore }) },
	"NodePreferAvoidPodsPriority": func(_ *task, fit []*host, out []int64) { each(fit, out, func(*host) int64 { return maxScore }) },
}

func each(fit []*host, out []int64, f func(*host) int64) {
	for i, h := range fit {
		out[i] = f(h)
	}
}

// share is a part of a whole, as a score.
func share(part, whole int64) int64 {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return part * maxScore / whole
}

// balanced prefers nodes whose cpu and memory are used to the same extent. A node that the pod would
// fill up gets nothing.
func balanced(t *task, fit []*host, out []int64) {
	each(fit, out, func(h *host) int64 {
		cpu := used(h.scoredCPU+t.self.scoredCPU, h.allocatable.cpu)
		mem := used(h.scoredMem+t.self.scoredMem, h.allocatable.memory)
		if cpu >= 1 || mem >= 1 {
			return 0
		}
		return int64((1 - math.Abs(cpu-mem)) * maxScore)
	})
}

func used(part, whole int64) float64 {
	if whole <= 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

// zoneShare is how much of the spread's score is about zones, where nodes have them.
const zoneShare = 2.0 / 3

// selectorSpread prefers nodes, and zones, with few pods of the same service or controller.
func selectorSpread(servicesOnly bool) func(*task, []*host, []int64) {
	return func(t *task, fit []*host, out []int64) {
		on := t.world.siblings(t.pod, servicesOnly)
		if len(on) == 0 {
			each(fit, out, func(*host) int64 { return maxScore })
			return
		}
		var most, mostInZone int64
		inZone := map[string]int64{}
		each(fit, out, func(h *host) int64 {
			n := int64(on[h.name])
			most = max(most, n)
			if n > 0 && h.zone != "" {
				inZone[h.zone] += n
				mostInZone = max(mostInZone, inZone[h.zone])
			}
			return n
		})
		for i, h := range fit {
			score := float64(maxScore)
			if most > 0 {
				score = maxScore * float64(most-out[i]) / float64(most)
			}
			if z := h.zone; z != "" {
				zones := float64(maxScore)
				if mostInZone > 0 {
					zones = maxScore * float64(mostInZone-inZone[z]) / float64(mostInZone)
				}
				score = score*(1-zoneShare) + zoneShare*zones
			}
			// What is whole but for the rounding of floats stays whole.
			out[i] = int64(score + 1e-9)
		}
	}
}

// upTo scales scores so that the highest is maxScore; reverse: so that the lowest raw one is best.
func upTo(out []int64, reverse bool) {
	var most int64
	for _, v := range out {
		most = max(most, v)
	}
	for i, v := range out {
		switch {
		case most == 0 && reverse:
			out[i] = maxScore
		case most == 0:
		case reverse:
			out[i] = maxScore - v*maxScore/most
		default:
			out[i] = v * maxScore / most
		}
	}
}

func nodeAffinity(t *task, fit []*host, out []int64) {
	if t.preferred == nil {
		clear(out[:len(fit)])
		return
	}
	each(fit, out, func(h *host) int64 { return t.preferred.Score(h.node) })
	upTo(out[:len(fit)], false)
}

func taintToleration(t *task, fit []*host, out []int64) {
	each(fit, out, func(h *host) (n int64) {
		for i := range h.node.Spec.Taints {
			if taint := &h.node.Spec.Taints[i]; taint.Effect == corev1.TaintEffectPreferNoSchedule && !t.tolerates(taint) {
				n++
			}
		}
		return n
	})
	upTo(out[:len(fit)], true)
}

func interPod(t *task, fit []*host, out []int64) {
	if len(t.company.likes) == 0 {
		clear(out[:len(fit)])
		return
	}
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	each(fit, out, func(h *host) int64 {
		v := t.company.liked(h)
		least, most = min(least, v), max(most, v)
		return v
	})
	for i := range fit {
		if most == least {
			out[i] = 0
		} else {
			out[i] = maxScore * (out[i] - least) / (most - least)
		}
	}
}

func evenSpread(t *task, fit []*host, out []int64) {
	if len(t.prefer) == 0 {
		clear(out[:len(fit)])
		return
	}
	var least, most int64 = math.MaxInt64, 0
	each(fit, out, func(h *host) int64 {
		sum := 0.0
		for i := range t.prefer {
			if _, ok := h.node.Labels[t.prefer[i].label]; !ok {
				return -1
			}
			sum += t.prefer[i].weighed(h)
		}
		v := int64(math.Round(sum))
		least, most = min(least, v), max(most, v)
		return v
	})
	for i := range fit {
		switch {
		case out[i] < 0:
			out[i] = 0
		case most == 0:
			out[i] = maxScore
		default:
			out[i] = maxScore * (most + least - out[i]) / most
		}
	}
}

// The sizes of images between which their being there counts, in bytes, for each container.
const (
	smallImage = 23 << 20
	largeImage = 1000 << 20
)

// imageLocality prefers nodes that have large images of the pod already; an image counts less where
// few nodes have it, so that pods do not heap up on those.
func imageLocality(t *task, fit []*host, out []int64) {
	have := map[string]int64{}
	for _, c := range t.pod.Spec.Containers {
		name := normalized(c.Image)
		for _, h := range t.world.order {
			if _, ok := h.images[name]; ok {
				have[name]++
			}
		}
	}
	if len(have) == 0 {
		clear(out[:len(fit)])
		return
	}
	most := int64(largeImage) * int64(len(t.pod.Spec.Containers))
	each(fit, out, func(h *host) int64 {
		var sum int64
		for _, c := range t.pod.Spec.Containers {
			name := normalized(c.Image)
			sum += int64(float64(h.images[name]) * float64(have[name]) / float64(len(t.world.order)))
		}
		sum = min(max(sum, smallImage), most)
		return maxScore * (sum - smallImage) / (most - smallImage)
	})
}

// normalized is an image's name as nodes report it.
func normalized(image string) string {
	if strings.LastIndex(image, ":") <= strings.LastIndex(image, "/") {
		image += ":latest"
	}
	return image
}

// labelPreference is a priority of a policy.
func labelPreference(a *api.LabelPreferenceArgument) func(*task, []*host, []int64) {
	return func(_ *task, fit []*host, out []int64) {
		each(fit, out, func(h *host) int64 {
			if _, ok := h.node.Labels[a.Label]; ok == a.Presence {
				return maxScore
			}
			return 0
		})
	}
}

// serviceAntiAffinity is a priority of a policy: it spreads a service's pods over a label's values.
// Nodes without the label get nothing.
func serviceAntiAffinity(label string) func(*task, []*host, []int64) {
	return func(t *task, fit []*host, out []int64) {
		on := t.world.siblings(t.pod, true)
		values := t.world.domains(on, label)
		total := 0
		for _, n := range on {
			total += n
		}
		each(fit, out, func(h *host) int64 {
			value, ok := h.node.Labels[label]
			switch {
			case !ok:
				return 0
			case total == 0:
				return maxScore
			}
			return int64(maxScore * float64(total-values[value]) / float64(total))
		})
	}
}
