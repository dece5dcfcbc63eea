package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// HostPort is a port of a node that leads to one of a pod.
type HostPort struct {
	// Protocol is TCP or UDP.
	Protocol corev1.Protocol `json:"protocol"`
	// Address of the node; 0.0.0.0: all of them.
	Address netip.Addr `json:"address"`
	// Port of the node, and of the pod.
	Port      uint16 `json:"port"`
	Container uint16 `json:"container"`
}

// String names it as in `tcp 0.0.0.0:80`.
func (p HostPort) String() string {
	return fmt.Sprintf("%s %s", p.Protocol, netip.AddrPortFrom(p.Address, p.Port))
}

// Meets says that both are asked for by the same packets.
func (p HostPort) Meets(o HostPort) bool {
	return p.Protocol == o.Protocol && p.Port == o.Port && (p.Address == o.Address || p.Address.IsUnspecified() || o.Address.IsUnspecified())
}

// HostPortsOf are the ports of its node that a pod has, sorted; none for one in the network of its node, where what it
// listens at is the node's already.
func HostPortsOf(pod *corev1.Pod) []HostPort {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []HostPort
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range containers {
			for _, p := range c.Ports {
				at, err := netip.ParseAddr(cmp.Or(p.HostIP, "0.0.0.0"))
				if p.HostPort > 0 && err == nil {
					out = append(out, HostPort{cmp.Or(p.Protocol, corev1.ProtocolTCP), at, uint16(p.HostPort), uint16(p.ContainerPort)})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b HostPort) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Container, b.Container))
	})
	return slices.Compact(out)
}

// validateHostPort refuses ports that are others', and addresses at which a node could not serve them.
func validateHostPort(cp corev1.ContainerPort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if FirstNodePort <= cp.HostPort && cp.HostPort <= LastNodePort {
		errs = append(errs, field.Forbidden(p.Child("hostPort"), fmt.Sprintf("ports from %d to %d are those of services (NodePort)", FirstNodePort, LastNodePort)))
	}
	a, err := netip.ParseAddr(cp.HostIP)
	switch at := p.Child("hostIP"); {
	case cp.HostIP == "" || err != nil:
	case !a.Is4():
		errs = append(errs, field.Forbidden(at, "is not served: nodes have IPv4 addresses"))
	case a.IsLoopback():
		errs = append(errs, field.Forbidden(at, "is not served: what comes from a loopback address cannot leave the node"))
	case a.IsMulticast():
		errs = append(errs, field.Forbidden(at, "is not served: no node has it"))
	}
	return errs
}

// defaultHostPorts: what listens in the network of the node has the port there that it has.
func defaultHostPorts(containers []corev1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			p := &containers[i].Ports[j]
			setDefault(&p.HostPort, p.ContainerPort)
		}
	}
}

func validateHostNetworkPorts(containers []corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range containers {
		for j, cp := range containers[i].Ports {
			if cp.HostPort != cp.ContainerPort {
				errs = append(errs, field.Invalid(p.Index(i).Child("ports").Index(j).Child("containerPort"), cp.ContainerPort, "must match `hostPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}
