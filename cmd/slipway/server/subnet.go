package server

import (
	"context"
	"net/netip"

	"slipway.dev/slipway/reconciler/subnet"
)

// hostPrefix is the size of each node's part of the cluster network.
const hostPrefix = 23

func subnets(s *server) subnet.Deps {
	return subnet.Deps{Network: subnet.Network{Cluster: s.cfg.clusterNetwork.Masked(), Bits: hostPrefix}, Client: s.client, Events: s.events, Log: s.log}
}

// claimedSubnet is how a server comes to its own node's subnet: itself, because it needs one
// before anybody leads who would give it away.
func claimedSubnet(s *server) func(context.Context, netip.Prefix) (netip.Prefix, error) {
	return func(ctx context.Context, before netip.Prefix) (netip.Prefix, error) {
		return subnets(s).Claim(ctx, s.cfg.Node, before)
	}
}
