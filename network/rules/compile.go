package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// Pod is what the rules need to know of a pod: which address is whose.
type Pod struct {
	Name    types.NamespacedName
	Address netip.Addr
	// Netid is the virtual network of the pod's project; 0 reaches and is reached by all.
	// From FirstOwn up it is a number of this node only, which says nothing on another.
	Netid uint32
}

// Compile is the elements for all of that on a node: the union of the parts that the Of…
// functions give for each object.
func Compile(node string, services []corev1.Service, endpoints []corev1.Endpoints, pods []Pod) Elements {
	byName := map[types.NamespacedName]*corev1.Endpoints{}
	for i := range endpoints {
		e := &endpoints[i]
		byName[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}] = e
	}
	t := NewTable()
	for i := range services {
		s := &services[i]
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		t.Put("service "+name.String(), OfService(node, s, byName[name]))
	}
	for _, p := range pods {
		t.Put("pod "+p.Name.String(), OfPod(p))
	}
	return t.Elements()
}

// OfService is the elements of one service on a node. endpoints may be nil. A headless
// service and one of type ExternalName have none. Node ports and outer addresses are served
// as far as the annotations say that they are the service's.
func OfService(node string, s *corev1.Service, endpoints *corev1.Endpoints) Elements {
	out := make(Elements, 4)
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return out
	}
	internal := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	external := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	ports := noted(s, api.NodePortsAnnotation)
	for _, p := range s.Spec.Ports {
		proto := protocolOf(p.Protocol)
		if protocols[proto] == 0 {
			continue
		}
		all := targetsOf(endpoints, p, "")
		here := func(local bool) []netip.AddrPort {
			if local {
				return targetsOf(endpoints, p, node)
			}
			return all
		}
		for _, front := range addresses(s.Spec.ClusterIP) {
			addFront(out, s, Services, front, proto, p.Port, here(internal))
		}
		for _, front := range addresses(noted(s, api.ExternalIPsAnnotation)...) {
			addFront(out, s, Externals, front, proto, p.Port, here(external))
		}
		if slices.Contains(ports, strconv.Itoa(int(p.NodePort))) {
			addFront(out, s, NodePorts, AnyAddress, proto, p.NodePort, here(external))
			addFar(out, s, proto, p.NodePort, external, all)
		}
	}
	return out
}

// Node ports stand in Endpoints under AnyAddress, which means all of the node's own
// addresses, or where those of other nodes lead elsewhere, under FarAddress, too.
var (
	AnyAddress = netip.IPv4Unspecified()
	FarAddress = AnyAddress.Next()
)

// addFar adds what pods of this node get that ask another node's port: any of the endpoints,
// and at once, because on the other node they would be taken for this one, which may reach all.
func addFar(out Elements, s *corev1.Service, proto string, port int32, local bool, all []netip.AddrPort) {
	key := fmt.Sprintf("%s . %d", proto, port)
	if local {
		addFront(out, s, FarPorts, FarAddress, proto, port, all)
	} else if verdict, ok := out[Element{NodePorts, key}]; ok {
		out[Element{FarPorts, key}] = verdict
	}
}

// addFront adds the elements of one way to a service.
func addFront(out Elements, s *corev1.Service, set Set, front netip.Addr, proto string, port int32, targets []netip.AddrPort) {
	// Joined by hand, as there may be tens of thousands.
	asked := proto + " . " + strconv.Itoa(int(port))
	key := front.String() + " . " + asked
	if len(targets) == 0 {
		if set == Externals {
			out[Element{Refused, key}] = ""
		}
		return
	}
	at, kind := Element{set, key}, ""
	switch set {
	case NodePorts:
		at, kind = Element{set, asked}, "node"
	case FarPorts:
		at, kind = Element{set, asked}, "far"
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out[at] = fmt.Sprintf("goto %ssticky-%d-%d", kind, len(targets), stickySeconds(s))
	} else {
		out[at] = "goto " + kind + "spread-" + strconv.Itoa(len(targets))
	}
	for i, t := range targets {
		out[Element{Endpoints, key + " . " + strconv.Itoa(i)}] = t.Addr().String() + " . " + strconv.Itoa(int(t.Port()))
	}
}

// stickySeconds is how long a client stays with its endpoint after its last connection.
func stickySeconds(s *corev1.Service) int32 {
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return *c.ClientIP.TimeoutSeconds
	}
	return corev1.DefaultClientIPServiceAffinitySeconds
}

// noted is what the server has noted in an annotation.
func noted(s *corev1.Service, annotation string) []string {
	text := s.Annotations[annotation]
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// addresses are the IPv4 addresses among words, each once.
func addresses(words ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range words {
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
// belong to service ports by name. With a node, only those on it.
func targetsOf(e *corev1.Endpoints, p corev1.ServicePort, node string) []netip.AddrPort {
	var out []netip.AddrPort
	if e == nil {
		return nil
	}
	for _, subset := range e.Subsets {
		for _, port := range subset.Ports {
			if port.Name != p.Name || protocolOf(port.Protocol) != protocolOf(p.Protocol) {
				continue
			}
			for _, a := range subset.Addresses {
				if node != "" && (a.NodeName == nil || *a.NodeName != node) {
					continue
				}
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
	out := ofAddress(p.Address, p.Netid)
	out[Element{Hairpin, fmt.Sprintf("%s . %s", p.Address, p.Address)}] = ""
	return out
}
