package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errTaken says that two nodes chose the same subnet at the same time.
var errTaken = errors.New("another node has claimed the same subnet")

// claimSubnet is this node's part of the cluster network, from its Node object. A node
// without one takes the first that no Node has, writes it down, and reads all Nodes
// again: if another one has written the same, both let go and try again, so
// that the same subnet is never kept by two.
func (d *Driver) claimSubnet(ctx context.Context, remembered netip.Prefix) (netip.Prefix, error) {
	for {
		subnet, err := d.tryClaim(ctx, remembered)
		if err == nil || !(errors.Is(err, errTaken) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)) {
			return subnet, err
		}
		select {
		case <-ctx.Done():
			return netip.Prefix{}, errors.Join(ctx.Err(), err)
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond):
		}
	}
}

func (d *Driver) tryClaim(ctx context.Context, remembered netip.Prefix) (netip.Prefix, error) {
	var nodes corev1.NodeList
	if err := d.Client.List(ctx, &nodes); err != nil {
		return netip.Prefix{}, err
	}
	subnet, own, err := decideSubnet(nodes.Items, d.Node, d.ClusterNetwork, d.HostPrefix, remembered)
	if err != nil || own != nil && own.Spec.PodCIDR == subnet.String() {
		return subnet, err
	}
	if err := d.writeSubnet(ctx, own, subnet.String()); err != nil {
		return netip.Prefix{}, err
	}
	if err := d.Client.List(ctx, &nodes); err != nil {
		return netip.Prefix{}, err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if n.Name == d.Node || n.Spec.PodCIDR != subnet.String() {
			continue
		}
		var mine corev1.Node
		if err := d.Client.Get(ctx, client.ObjectKey{Name: d.Node}, &mine); err != nil {
			return netip.Prefix{}, err
		}
		return netip.Prefix{}, errors.Join(errTaken, d.writeSubnet(ctx, &mine, ""))
	}
	return subnet, nil
}

func (d *Driver) writeSubnet(ctx context.Context, own *corev1.Node, subnet string) error {
	node := own
	if node == nil {
		node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.Node}}
	}
	node.Spec.PodCIDR, node.Spec.PodCIDRs = subnet, nil
	if subnet != "" {
		node.Spec.PodCIDRs = []string{subnet}
	}
	if own == nil {
		return d.Client.Create(ctx, node)
	}
	return d.Client.Update(ctx, node)
}

// decideSubnet is the subnet that a node has or shall take, and its Node object if there is one.
func decideSubnet(nodes []corev1.Node, name string, cluster netip.Prefix, bits int, remembered netip.Prefix) (netip.Prefix, *corev1.Node, error) {
	var own *corev1.Node
	taken := map[netip.Prefix]string{}
	for i := range nodes {
		n := &nodes[i]
		if n.Name == name {
			own = n
			continue
		}
		if p, err := netip.ParsePrefix(n.Spec.PodCIDR); err == nil {
			taken[p.Masked()] = n.Name
		}
	}
	fits := func(p netip.Prefix) bool { return p.IsValid() && p.Bits() == bits && cluster.Contains(p.Addr()) }
	if own != nil && own.Spec.PodCIDR != "" {
		p, err := netip.ParsePrefix(own.Spec.PodCIDR)
		if err != nil || !fits(p) {
			return p, own, fmt.Errorf("node %s: spec.podCIDR: %q is no /%d of cluster network %s", name, own.Spec.PodCIDR, bits, cluster)
		}
		return p.Masked(), own, nil
	}
	if fits(remembered) && taken[remembered] == "" {
		return remembered, own, nil
	}
	for p := netip.PrefixFrom(cluster.Addr(), bits); cluster.Contains(p.Addr()); p = following(p) {
		if taken[p] == "" {
			return p, own, nil
		}
	}
	return netip.Prefix{}, own, fmt.Errorf("node %s: all %d subnets of cluster network %s are taken", name, len(taken), cluster)
}

// following is the subnet after p.
func following(p netip.Prefix) netip.Prefix {
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1<<(32-p.Bits()))
	return netip.PrefixFrom(netip.AddrFrom4(b), p.Bits())
}
