package subnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// world is what a decision looks at.
type world struct {
	nodes   map[string]*corev1.Node
	subnets map[string]*networkv1.HostSubnet
}

// Network is what subnets are taken from.
type Network struct {
	// Cluster holds all pods' addresses; Bits is the size of each node's part, e.g. 23.
	Cluster netip.Prefix
	Bits    int
}

func (n Network) fits(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && p.Bits() == n.Bits && n.Cluster.Contains(p.Addr())
}

// want is the subnet that a node has or shall take. What it uses it keeps, then what it has
// claimed; otherwise it gets what it had before, where that is free, or the first free one.
func (n Network) want(w world, name string, before netip.Prefix) (netip.Prefix, error) {
	if h := w.subnets[name]; h != nil {
		p, err := netip.ParsePrefix(h.Subnet)
		if err != nil || !n.fits(p) {
			return p, fmt.Errorf("hostsubnet %s: subnet %q is no /%d of cluster network %s", name, h.Subnet, n.Bits, n.Cluster)
		}
		return p, nil
	}
	if own := w.nodes[name]; own != nil && own.Spec.PodCIDR != "" {
		p, err := netip.ParsePrefix(own.Spec.PodCIDR)
		if err != nil || !n.fits(p.Masked()) {
			return p, fmt.Errorf("node %s: spec.podCIDR: %q is no /%d of cluster network %s", name, own.Spec.PodCIDR, n.Bits, n.Cluster)
		}
		return p.Masked(), nil
	}
	taken := w.taken(name)
	if n.fits(before) && taken[before] == "" {
		return before, nil
	}
	for p := netip.PrefixFrom(n.Cluster.Addr(), n.Bits); n.Cluster.Contains(p.Addr()); p = following(p) {
		if taken[p] == "" {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("node %s: all %d subnets of cluster network %s are taken", name, len(taken), n.Cluster)
}

// taken is which subnet others have claimed or use. What the HostSubnet of a Node that is
// gone says is free: it is removed before it is given away.
func (w world) taken(except string) map[netip.Prefix]string {
	out := map[netip.Prefix]string{}
	for name, node := range w.nodes {
		if name == except {
			continue
		}
		if p, err := netip.ParsePrefix(node.Spec.PodCIDR); err == nil {
			out[p.Masked()] = name
		}
		if h := w.subnets[name]; h != nil {
			if p, err := netip.ParsePrefix(h.Subnet); err == nil {
				out[p] = name
			}
		}
	}
	return out
}

// rival is the other node that has claimed or uses the same subnet; empty: none.
func (w world) rival(name string, p netip.Prefix) string { return w.taken(name)[p] }

// following is the subnet after p.
func following(p netip.Prefix) netip.Prefix {
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1<<(32-p.Bits()))
	return netip.PrefixFrom(netip.AddrFrom4(b), p.Bits())
}

// addressOf is where other nodes reach a node; empty: nobody has said yet.
func addressOf(n *corev1.Node) string {
	if a, err := netip.ParseAddr(n.Annotations[api.NodeAddress]); err == nil && a.Is4() {
		return a.String()
	}
	for _, x := range n.Status.Addresses {
		if a, err := netip.ParseAddr(x.Address); err == nil && a.Is4() && !a.IsLoopback() && x.Type == corev1.NodeInternalIP {
			return a.String()
		}
	}
	return ""
}
