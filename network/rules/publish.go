package rules

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// OfPorts is the elements for the ports of the node that lead to a pod here, beside those of OfPod: each is like a node
// port, or where it is at one address only like an outer address, of a service with one endpoint.
func OfPorts(pod netip.Addr, ports []api.HostPort) Elements {
	out := make(Elements, 2*len(ports))
	if !pod.Is4() {
		return out
	}
	for _, p := range ports {
		proto := protocolOf(p.Protocol)
		if protocols[proto] == 0 || !p.Address.Is4() {
			continue
		}
		asked := fmt.Sprintf("%s . %d", proto, p.Port)
		if p.Address == AnyAddress {
			out[Element{NodePorts, asked}] = "goto nodespread-1"
		} else {
			out[Element{Externals, p.Address.String() + " . " + asked}] = "goto spread-1"
		}
		out[Element{Endpoints, p.Address.String() + " . " + asked + " . 0"}] = fmt.Sprintf("%s . %d", pod, p.Container)
	}
	return out
}

// OfNodesOwn is the elements for a pod in the network of its node: pods there may ask what it says that it listens at
// over TCP, as others may from elsewhere.
func OfNodesOwn(node string, pod *corev1.Pod) Elements {
	if pod.Spec.NodeName != node || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	out := Elements{}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if protocolOf(p.Protocol) == "tcp" && p.HostPort > 0 {
				out[Element{HostPorts, fmt.Sprint(p.HostPort)}] = ""
			}
		}
	}
	return out
}
