package nodeapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodecert"
)

// address is where others reach a node's host. Routers and servers connect to it, so that a node must
// not name any that it likes: it is where the node asks from, or what it says together with a token, which an
// administrator gave; else it is what it was.
func (s *Server) address(r *http.Request, name string, ask nodecert.Ask, was string) (string, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "", err
	}
	from, err := netip.ParseAddr(host)
	if err != nil {
		return "", err
	}
	from = from.Unmap().WithZone("")
	if ask.Address == "" {
		return s.seen(r.Context(), name, from, ask.Token != "", was)
	}
	said, err := netip.ParseAddr(ask.Address)
	if said = said.Unmap(); err != nil || said.Zone() != "" || said.IsUnspecified() || said.IsMulticast() || said.IsLoopback() && !from.IsLoopback() {
		return "", apierrors.NewBadRequest(fmt.Sprintf("address %q: want the IP address that the node's host is reached at", ask.Address))
	}
	switch {
	case said == from:
		return s.seen(r.Context(), name, from, ask.Token != "", was)
	case ask.Token == "" && was != "":
		return was, nil
	}
	return said.String(), s.elsewhere(r.Context(), name, said)
}

// seen is the address that a node asks from, unless another one has it: they share a way out, and packets
// for pods would go to one of them only. Who joins is told; who is a node stays where it was. This machine's
// own address is that of as many as there are on it.
func (s *Server) seen(ctx context.Context, name string, from netip.Addr, joins bool, was string) (string, error) {
	if from.IsLoopback() {
		return from.String(), nil
	}
	err := s.elsewhere(ctx, name, from)
	if err != nil && !joins && was != "" && (apierrors.IsUnauthorized(err) || apierrors.IsBadRequest(err)) {
		return was, nil
	}
	return from.String(), err
}

// elsewhere says why an address cannot be a node's host's: pods and services have it, or another node.
func (s *Server) elsewhere(ctx context.Context, name string, at netip.Addr) error {
	for what, network := range map[string]string{"pods": s.Cluster.ClusterNetwork, "services": s.Cluster.ServiceNetwork} {
		if p, err := netip.ParsePrefix(network); err == nil && p.Contains(at) {
			return apierrors.NewBadRequest(fmt.Sprintf("address %s: %s is the network of %s", at, p, what))
		}
	}
	var nodes corev1.NodeList
	if err := s.Client.List(ctx, &nodes); err != nil {
		return err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		has := n.Annotations[api.NodeAddress] == at.String()
		for _, a := range n.Status.Addresses {
			has = has || a.Type == corev1.NodeInternalIP && a.Address == at.String()
		}
		if has && n.Name != name {
			return unauthorized("address %s is that of node %s", at, n.Name)
		}
	}
	return nil
}
