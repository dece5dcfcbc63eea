package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// claim is something that one service at a time can have: an address, or a port of all
// nodes.
type claim string

func claimAddress(a netip.Addr) claim { return claim("address " + a.String()) }
func claimPort(n int32) claim         { return claim(fmt.Sprintf("port %d", n)) }

// claimsOf is what a service has: its address, its node ports, and the address at which its
// load balancer is reached.
func claimsOf(s *corev1.Service) []claim {
	var out []claim
	if a, ok := addressOf(s); ok {
		out = append(out, claimAddress(a))
	}
	if takesPorts(s) {
		for _, p := range s.Spec.Ports {
			if p.NodePort != 0 && !slices.Contains(out, claimPort(p.NodePort)) {
				out = append(out, claimPort(p.NodePort))
			}
		}
	}
	if a, ok := ingressOf(s); ok {
		out = append(out, claimAddress(a))
	}
	return out
}

// addressOf is a service's address, if it has one.
func addressOf(s *corev1.Service) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s.Spec.ClusterIP)
	return a, err == nil
}

// ingressOf is the address at which a service's load balancer is reached, if it has one.
func ingressOf(s *corev1.Service) (netip.Addr, bool) {
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	return a, err == nil
}

// wantsAddress says whether a service is to get an address: not where it has one, says
// that it has none, or is but another name.
func wantsAddress(s *corev1.Service) bool {
	return s.Spec.ClusterIP == "" && s.Spec.Type != corev1.ServiceTypeExternalName
}

func isBalanced(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeLoadBalancer }

// takesPorts says whether a service is reached by ports of the nodes.
func takesPorts(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort ||
		isBalanced(s) && (s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts)
}

func wantsPorts(s *corev1.Service) bool {
	return takesPorts(s) && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.NodePort == 0 })
}

// asksForPort says whether a repository wrote down a node port itself.
func asksForPort(s *corev1.Service) bool {
	return slices.ContainsFunc(s.ManagedFields, func(m ownership) bool { return m.Operation == applied && namesPort(m) })
}

// notes is what the annotations of a service say once it is settled what is its own.
func notes(s *corev1.Service, ports []int32, outer []netip.Addr) map[string]string {
	address := ""
	if _, ok := addressOf(s); ok {
		address = s.Spec.ClusterIP
	}
	return map[string]string{
		api.ServiceAddressAnnotation: address,
		api.NodePortsAnnotation:      join(ports),
		api.ExternalIPsAnnotation:    join(outer),
	}
}

func join[T any](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(words, ",")
}

// isNoted says whether a service's annotations say that already.
func isNoted(s *corev1.Service, want map[string]string) bool {
	for name, value := range want {
		if s.Annotations[name] != value {
			return false
		}
	}
	return true
}

func note(s *corev1.Service, want map[string]string) {
	for name, value := range want {
		if value == "" {
			delete(s.Annotations, name)
			continue
		}
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[name] = value
	}
}
