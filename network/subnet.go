package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
)

// lookForSubnet is how often a node without a subnet looks whether it has one now.
const lookForSubnet = 100 * time.Millisecond

// patienceForSubnet is how long it waits before it says so.
const patienceForSubnet = 30 * time.Second

// errUnassigned is no reason to go on with the subnet of before: it may be another node's now.
var errUnassigned = errors.New("no server has given this node a subnet")

// assignedSubnet waits until the servers have given this node its part of the cluster
// network. A subnet without a HostSubnet is one that another node may have too.
func (d *Driver) assignedSubnet(ctx context.Context, _ netip.Prefix) (netip.Prefix, error) {
	late := time.After(patienceForSubnet)
	for {
		h, err := get[networkv1.HostSubnet](ctx, d.Client, key{Name: d.Node})
		if err != nil {
			return netip.Prefix{}, err
		}
		if h != nil {
			at, err := hostOf(h)
			if err == nil && !d.ClusterNetwork.Contains(at.subnet.Addr()) {
				err = fmt.Errorf("hostsubnet %s: subnet %s is not of cluster network %s", h.Name, at.subnet, d.ClusterNetwork)
			}
			return at.subnet, err
		}
		select {
		case <-ctx.Done():
			return netip.Prefix{}, ctx.Err()
		case <-late:
			return netip.Prefix{}, fmt.Errorf("hostsubnet %s: %w", d.Node, errUnassigned)
		case <-time.After(lookForSubnet):
		}
	}
}
