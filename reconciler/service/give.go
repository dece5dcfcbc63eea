package service

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// wantsIngress says whether a load balancer is to get its address. Without a network for
// them it stays without, as on a Kubernetes cluster that has no provider of them.
func (a addresses) wantsIngress(s *corev1.Service) bool {
	_, has := ingressOf(s)
	return isBalanced(s) && !has && a.Ingress.IsValid()
}

func (a addresses) hasStaleIngress(s *corev1.Service) bool {
	return !isBalanced(s) && len(s.Status.LoadBalancer.Ingress) > 0
}

// give writes what a service lacks, and says whether it wrote.
func (a addresses) give(ctx context.Context, s *corev1.Service) (bool, error) {
	switch {
	case wantsAddress(s) || wantsPorts(s):
		if err := a.choose(s); err != nil {
			return false, err
		}
		if err := a.Client.Update(ctx, s); err != nil {
			return false, fmt.Errorf("service %s/%s: give address %s: %w", s.Namespace, s.Name, s.Spec.ClusterIP, err)
		}
	case a.hasStaleIngress(s):
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if err := a.Client.Status().Update(ctx, s); err != nil {
			return false, fmt.Errorf("service %s/%s: take its load balancer's address: %w", s.Namespace, s.Name, err)
		}
	case a.wantsIngress(s):
		ip, err := Allocate(a.Ingress, s.Namespace, s.Name, func(ip netip.Addr) bool { return a.book.taken(claimAddress(ip)) })
		if err != nil {
			return false, err
		}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip.String()}}
		if err := a.Client.Status().Update(ctx, s); err != nil {
			return false, fmt.Errorf("service %s/%s: give load balancer's address %s: %w", s.Namespace, s.Name, ip, err)
		}
	default:
		return false, nil
	}
	a.book.gave(s)
	return true, nil
}

// choose decides address and node ports. TCP and UDP of one port get the same node port.
func (a addresses) choose(s *corev1.Service) error {
	if wantsAddress(s) {
		ip, err := Allocate(a.Network, s.Namespace, s.Name, func(ip netip.Addr) bool { return a.book.taken(claimAddress(ip)) })
		if err != nil {
			return err
		}
		s.Spec.ClusterIP = ip.String()
	}
	if !takesPorts(s) {
		return nil
	}
	own := map[int32]bool{}
	same := map[int32]int32{}
	for _, p := range s.Spec.Ports {
		if p.NodePort != 0 {
			own[p.NodePort], same[p.Port] = true, p.NodePort
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		if p.NodePort = same[p.Port]; p.NodePort != 0 {
			continue
		}
		n, err := AllocatePort(s.Namespace, s.Name, p.Port, func(n int32) bool { return own[n] || a.book.taken(claimPort(n)) })
		if err != nil {
			return err
		}
		p.NodePort = n
		own[n], same[p.Port] = true, n
	}
	return nil
}

// notesOf is the annotation that notes a claim.
func notesOf(c claim) string {
	if strings.HasPrefix(string(c), "port ") {
		return api.NodePortsAnnotation
	}
	return api.ServiceAddressAnnotation
}
