package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Reasons counts the nodes that cannot run a pod, by why not.
type Reasons map[string]int

// String reads as Kubernetes' scheduler says it: `0/2 nodes are available: 1
// Insufficient cpu, 1 node(s) were unschedulable.`
func (r Reasons) String(nodes int) string {
	if nodes == 0 {
		return "no nodes are known"
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(r)) {
		parts = append(parts, fmt.Sprintf("%d %s", r[why], why))
	}
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}

// Pick chooses a node for a pod. pods are all pods of the cluster; those that are bound
// and have not ended use up their nodes. Without a node that fits, the name is empty
// and the reasons say why for each. Among those that fit, the one with the fewest
// siblings of the pod and the most free room wins, then the first by name.
func Pick(pod *corev1.Pod, nodes []corev1.Node, pods []corev1.Pod) (string, Reasons) {
	reasons := Reasons{}
	on := map[string][]*corev1.Pod{}
	for i := range pods {
		if p := &pods[i]; p.Spec.NodeName != "" && !ended(p) && p.UID != pod.UID {
			on[p.Spec.NodeName] = append(on[p.Spec.NodeName], p)
		}
	}
	best, most := "", 0.0
	for i := range nodes {
		n := &nodes[i]
		if whys := unfit(pod, n, on[n.Name]); len(whys) > 0 {
			for _, why := range whys {
				reasons[why]++
			}
			continue
		}
		if s := score(pod, n, on[n.Name]); best == "" || s > most || s == most && n.Name < best {
			best, most = n.Name, s
		}
	}
	return best, reasons
}

// ended pods no longer use anything.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// score is from 0 to 200: the free share of the scarcer of cpu and memory, and how few of
// the node's pods are siblings.
func score(pod *corev1.Pod, n *corev1.Node, there []*corev1.Pod) float64 {
	free := 1.0
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if total := n.Status.Allocatable[name]; total.Sign() > 0 {
			left := 1 - float64(used(name, there)+request(pod, name))/float64(amount(name, total))
			free = min(free, left)
		}
	}
	siblings := 0
	for _, p := range there {
		if sibling(pod, p) {
			siblings++
		}
	}
	return 100*max(free, 0) + 100/float64(1+siblings)
}

// sibling pods are of the same DeploymentConfig, whatever the version, or else of the
// same controller.
func sibling(a, b *corev1.Pod) bool {
	if a.Namespace != b.Namespace {
		return false
	}
	const config = "deploymentconfig"
	if a.Labels[config] != "" || b.Labels[config] != "" {
		return a.Labels[config] == b.Labels[config]
	}
	for _, x := range a.OwnerReferences {
		for _, y := range b.OwnerReferences {
			if x.UID == y.UID {
				return true
			}
		}
	}
	return false
}

// unfit lists why a node cannot run a pod; none: it can.
func unfit(pod *corev1.Pod, n *corev1.Node, there []*corev1.Pod) []string {
	var whys []string
	if n.DeletionTimestamp != nil || !isReady(n) {
		whys = append(whys, "node(s) were not ready")
	}
	if n.Spec.Unschedulable {
		whys = append(whys, "node(s) were unschedulable")
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(pod, t) {
			whys = append(whys, fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value))
		}
	}
	if !selects(pod, n) {
		whys = append(whys, "node(s) didn't match the pod's node selector or affinity")
	}
	if portsTaken(pod, there) {
		whys = append(whys, "node(s) didn't have free ports for the requested pod ports")
	}
	return append(whys, shortOf(pod, n, there)...)
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func tolerated(pod *corev1.Pod, t corev1.Taint) bool {
	for _, tol := range pod.Spec.Tolerations {
		if tol.Effect != "" && tol.Effect != t.Effect || tol.Key != "" && tol.Key != t.Key {
			continue
		}
		if tol.Operator == corev1.TolerationOpExists || tol.Key != "" && tol.Value == t.Value {
			return true
		}
	}
	return false
}

func portsTaken(pod *corev1.Pod, there []*corev1.Pod) bool {
	wanted := hostPorts(pod)
	for _, p := range there {
		for _, have := range hostPorts(p) {
			for _, want := range wanted {
				sameIP := have.HostIP == want.HostIP || anyAddress(have.HostIP) || anyAddress(want.HostIP)
				if sameIP && have.HostPort == want.HostPort && cmp.Or(have.Protocol, corev1.ProtocolTCP) == cmp.Or(want.Protocol, corev1.ProtocolTCP) {
					return true
				}
			}
		}
	}
	return false
}

func anyAddress(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

func hostPorts(pod *corev1.Pod) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort > 0 {
				ports = append(ports, p)
			}
		}
	}
	return ports
}
