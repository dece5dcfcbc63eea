package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pod is what the rules need to know of a pod: which address is whose.
type Pod struct {
	Name    types.NamespacedName
	Address netip.Addr
	// Netid is the virtual network of the pod's project; 0 reaches and is reached by all.
	Netid uint32
}

// Compile is the elements for all of that: the union of the parts that the Of…
// functions give for each object.
func Compile(services []corev1.Service, endpoints []corev1.Endpoints, pods []Pod) Elements {
	byName := map[types.NamespacedName]*corev1.Endpoints{}
	for i := range endpoints {
		e := &endpoints[i]
		byName[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}] = e
	}
	t := NewTable()
	for i := range services {
		s := &services[i]
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		t.Put("service "+name.String(), OfService(s, byName[name]))
	}
	for _, p := range pods {
		t.Put("pod "+p.Name.String(), OfPod(p))
	}
	return t.Elements()
}

// OfService is the elements of one service. endpoints may be nil. A headless service, one
// of type ExternalName and one without endpoints have none.
func OfService(s *corev1.Service, endpoints *corev1.Endpoints) Elements {
	out := Elements{}
	if s.Spec.Type == corev1.ServiceTypeExternalName || endpoints == nil {
		return out
	}
	for _, front := range fronts(s) {
		for _, p := range s.Spec.Ports {
			proto := protocolOf(p.Protocol)
			targets := targetsOf(endpoints, p)
			if len(targets) == 0 || protocols[proto] == 0 {
				continue
			}
			key := fmt.Sprintf("%s . %s . %d", front, proto, p.Port)
			chain := "spread"
			if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
				chain = "sticky"
			}
			out[Element{Services, key}] = fmt.Sprintf("goto %s-%d", chain, len(targets))
			for i, t := range targets {
				out[Element{Endpoints, fmt.Sprintf("%s . %d", key, i)}] = fmt.Sprintf("%s . %d", t.Addr(), t.Port())
			}
		}
	}
	return out
}

// fronts is the addresses under which a service is reached.
func fronts(s *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, text := range append([]string{s.Spec.ClusterIP}, s.Spec.ExternalIPs...) {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func protocolOf(p corev1.Protocol) string {
	if p == "" {
		return "tcp"
	}
	return strings.ToLower(string(p))
}

// targetsOf is the endpoints of one service port, sorted, each once: endpoint ports
// belong to service ports by name.
func targetsOf(e *corev1.Endpoints, p corev1.ServicePort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, subset := range e.Subsets {
		for _, port := range subset.Ports {
			if port.Name != p.Name || protocolOf(port.Protocol) != protocolOf(p.Protocol) {
				continue
			}
			for _, a := range subset.Addresses {
				if ip, err := netip.ParseAddr(a.IP); err == nil && ip.Is4() {
					out = append(out, netip.AddrPortFrom(ip, uint16(port.Port)))
				}
			}
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}

// OfPod is the elements of one pod. A pod without an IPv4 address has none.
func OfPod(p Pod) Elements {
	if !p.Address.Is4() {
		return Elements{}
	}
	return Elements{
		{Hairpin, fmt.Sprintf("%s . %s", p.Address, p.Address)}: "",
		{Netids, p.Address.String()}:                            fmt.Sprint(p.Netid),
		{Members, fmt.Sprintf("%s . %d", p.Address, p.Netid)}:   "",
	}
}
