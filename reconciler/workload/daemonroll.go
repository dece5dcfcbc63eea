package workload

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/reconciler/pods"
)

// pair is what a node has of a DaemonSet: a pod of an older template, one of the newest.
type pair struct{ old, new *corev1.Pod }

// roll replaces pods of older templates. Without surge an old pod goes first, as long as no
// more than maxUnavailable nodes are without; with surge the new one comes first, on no more
// than maxSurge nodes at once.
func (d Daemons) roll(out *DaemonChange) {
	if len(out.Create)+len(out.Delete) > 0 {
		return
	}
	surge := d.surge()
	missing, surging := int32(0), int32(0)
	var broken, whole []*corev1.Pod
	var fresh []string
	on := d.byNode()
	for _, n := range d.Nodes {
		run, _ := d.eligible(n)
		if !run {
			continue
		}
		p := d.pairOf(on[n.Name])
		switch {
		case p.old == nil && p.new == nil:
			missing++
		case p.old == nil:
			if !d.available(p.new) {
				missing++
			}
		case surge == 0 && p.new != nil:
			missing++
		case surge == 0 && !d.available(p.old):
			missing++
			broken = append(broken, p.old)
		case surge == 0:
			whole = append(whole, p.old)
		case p.new == nil && !d.available(p.old):
			out.Create = append(out.Create, n.Name)
			surging++
		case p.new == nil:
			fresh = append(fresh, n.Name)
		case d.available(p.new) || !d.available(p.old):
			broken = append(broken, p.old)
		default:
			surging++
		}
	}
	out.Delete = append(out.Delete, broken...)
	if surge > 0 {
		out.Create = append(out.Create, fresh[:min(len(fresh), int(max(surge-surging, 0)))]...)
		return
	}
	most := scaledValue(d.maxUnavailable(), d.wanted(), true)
	if most == 0 {
		most = 1
	}
	out.Delete = append(out.Delete, whole[:min(len(whole), int(max(most-missing, 0)))]...)
}

func (d Daemons) available(p *corev1.Pod) bool {
	return pods.Live(p) && pods.Available(p, d.Set.Spec.MinReadySeconds, d.Now)
}

// pairOf sorts a node's pods that stay by their template.
func (d Daemons) pairOf(there []*corev1.Pod) pair {
	var out pair
	for _, p := range there {
		switch {
		case pods.Leaving(p):
		case d.updated(p):
			out.new = p
		default:
			out.old = p
		}
	}
	return out
}

// DaemonStatus counts a DaemonSet's pods by node: the oldest of each stands for it.
func DaemonStatus(d Daemons) appsv1.DaemonSetStatus {
	out := *d.Set.Status.DeepCopy()
	out.ObservedGeneration = d.Set.Generation
	out.DesiredNumberScheduled, out.CurrentNumberScheduled, out.NumberMisscheduled = 0, 0, 0
	out.NumberReady, out.NumberAvailable, out.UpdatedNumberScheduled = 0, 0, 0
	on := d.byNode()
	for _, n := range d.Nodes {
		run, _ := d.eligible(n)
		p := d.pairOf(on[n.Name])
		if !run {
			if p.old != nil || p.new != nil {
				out.NumberMisscheduled++
			}
			continue
		}
		out.DesiredNumberScheduled++
		if p.old == nil && p.new == nil {
			continue
		}
		out.CurrentNumberScheduled++
		if p.new != nil {
			out.UpdatedNumberScheduled++
		}
		ready := p.old != nil && pods.Ready(p.old) || p.new != nil && pods.Ready(p.new)
		available := p.old != nil && d.available(p.old) || p.new != nil && d.available(p.new)
		if ready {
			out.NumberReady++
		}
		if available {
			out.NumberAvailable++
		}
	}
	out.NumberUnavailable = out.DesiredNumberScheduled - out.NumberAvailable
	return out
}
