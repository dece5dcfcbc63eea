package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"

	networkv1 "github.com/openshift/api/network/v1"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/slipway/network/rules"
	"slipway.dev/slipway/state/loop"
)

// vxlanOverhead is what VXLAN over IPv4 adds to a packet, in bytes: the outer IPv4, UDP and
// VXLAN headers and the inner Ethernet header (RFC 7348).
const vxlanOverhead = 20 + 8 + 8 + 14

// overlayEnd begins the hardware addresses of the overlay's links; see podEnd.
const overlayEnd = 0x5a

// host is a node as its HostSubnet describes it.
type host struct {
	subnet  netip.Prefix
	address netip.Addr // invalid: not known
}

func (h host) gateway() netip.Addr        { return h.subnet.Addr().Next() }
func (h host) hardware() net.HardwareAddr { return hardware(h.gateway(), overlayEnd) }
func (d *Driver) overlayName() string     { return d.linkPrefix() + "vx" }
func ownerOfHost(name string) string      { return "host " + name }

func hostOf(h *networkv1.HostSubnet) (host, error) {
	subnet, err := netip.ParsePrefix(h.Subnet)
	if err != nil {
		return host{}, fmt.Errorf("hostsubnet %s: subnet: %w", h.Name, err)
	}
	out := host{subnet: subnet.Masked()}
	if a, err := netip.ParseAddr(h.HostIP); err == nil && a.Is4() {
		out.address = a
	}
	return out, nil
}

// placeHost takes over what a HostSubnet says; nil: the node is gone. It needs mu held.
func (d *Driver) placeHost(name string, h *networkv1.HostSubnet) error {
	delete(d.hosts, name)
	d.checked = moment{} // The firewall names the nodes.
	defer d.guardOverlay()
	if h == nil {
		d.table.Put(ownerOfHost(name), nil)
		return nil
	}
	at, err := hostOf(h)
	if err != nil {
		d.table.Put(ownerOfHost(name), nil)
		return err
	}
	d.hosts[name] = at
	d.table.Put(ownerOfHost(name), rules.OfHost(at.gateway(), at.address, name == d.Node))
	return nil
}

// guardOverlay has the rules take packets of the overlay from other nodes only, as soon as there is one.
func (d *Driver) guardOverlay() {
	if len(d.peers()) > 0 {
		d.table.Put("overlay", rules.OfOverlay(d.OverlayPort))
	}
}

func (d *Driver) reconcileHost(ctx context.Context, name key) (loop.Result, error) {
	h, err := get[networkv1.HostSubnet](ctx, d.Client, name)
	if err != nil {
		return loop.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ready(ctx); err != nil {
		return loop.Result{}, err
	}
	if err := d.placeHost(name.Name, h); err != nil {
		return loop.Result{}, err
	}
	// The rules come before the link that they guard, and go after it.
	if err := d.sync(); err != nil {
		return loop.Result{}, err
	}
	if _, err := d.ensureOverlay(); err != nil {
		return loop.Result{}, err
	}
	if len(d.peers()) == 0 {
		d.table.Put("overlay", nil)
	}
	return loop.Result{}, d.sync()
}

// peers are the other nodes whose addresses are known, by the hardware address of their
// end. What has this node's own subnet is not one: it would take our pods' packets.
func (d *Driver) peers() map[string]host {
	out := map[string]host{}
	for name, h := range d.hosts {
		if name != d.Node && h.address.IsValid() && d.ClusterNetwork.Contains(h.subnet.Addr()) && !h.subnet.Overlaps(d.subnet) {
			out[h.hardware().String()] = h
		}
	}
	return out
}

func (d *Driver) peerAddresses() []netip.Addr {
	var out []netip.Addr
	for _, p := range d.peers() {
		out = append(out, p.address)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// ensureOverlay makes the link to the other nodes and what leads there. Before all nodes
// were read nothing is removed. It needs mu held.
func (d *Driver) ensureOverlay() (mended []string, err error) {
	peers := d.peers()
	link, err := d.overlayLink()
	if err != nil {
		return nil, err
	}
	if len(peers) == 0 {
		if link != nil && d.primed {
			return nil, deleteLink(link)
		}
		return nil, nil
	}
	want, err := d.wantedOverlay(peers)
	if err != nil {
		return nil, err
	}
	if link != nil && !sameVxlan(link, want) {
		if err := deleteLink(link); err != nil {
			return nil, err
		}
		link = nil
	}
	if link == nil {
		if err := netlink.LinkAdd(want); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, fmt.Errorf("link %s: %w", want.Name, err)
		}
		mended = append(mended, "link "+want.Name)
		if link, err = d.overlayLink(); err != nil || link == nil {
			return mended, fmt.Errorf("link %s is not there after it was made: %w", want.Name, err)
		}
	}
	if link.Attrs().MTU != want.MTU {
		if err := netlink.LinkSetMTU(link, want.MTU); err != nil {
			return mended, fmt.Errorf("link %s: mtu %d: %w", want.Name, want.MTU, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if _, err := setSysctl("/proc/sys/net/ipv6/conf/"+want.Name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, syscall.ENOENT) {
			return mended, err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return mended, fmt.Errorf("link %s: set up: %w", want.Name, err)
		}
	}
	d.overlayMTU = want.MTU
	ways, err := d.ensureWays(link.Attrs().Index, peers)
	if err != nil {
		err = fmt.Errorf("link %s: %w", want.Name, err)
	}
	return append(mended, ways...), err
}

// overlayLink is the link as the kernel has it; nil: there is none.
func (d *Driver) overlayLink() (netlink.Link, error) {
	link, err := netlink.LinkByName(d.overlayName())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", d.overlayName(), err)
	}
	return link, nil
}

// wantedOverlay is the link as it should be. The outer packets leave from this node's
// address, by which the others know it; where no link has that (behind a translation of
// addresses), from whatever the route says.
func (d *Driver) wantedOverlay(peers map[string]host) (*netlink.Vxlan, error) {
	own := d.hosts[d.Node]
	mtu, local, err := underlay(own.address, peers)
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = d.overlayName(), mtu-vxlanOverhead, hardware(d.gateway(), overlayEnd)
	v := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: int(d.VNI), Port: int(d.OverlayPort), GBP: true}
	if local {
		v.SrcAddr = own.address.AsSlice()
	}
	return v, nil
}

// underlay is the largest packet that reaches every peer, and whether the address is one of
// this node's links.
func underlay(own netip.Addr, peers map[string]host) (mtu int, local bool, err error) {
	links := map[int]int{}
	for _, p := range peers {
		routes, err := netlink.RouteGet(p.address.AsSlice())
		if err != nil {
			return 0, false, fmt.Errorf("route to the node at %s: %w", p.address, err)
		}
		for _, r := range routes {
			if links[r.LinkIndex] == 0 {
				l, err := netlink.LinkByIndex(r.LinkIndex)
				if err != nil {
					return 0, false, fmt.Errorf("link to the node at %s: %w", p.address, err)
				}
				links[r.LinkIndex] = l.Attrs().MTU
			}
			m := links[r.LinkIndex]
			if r.MTU > 0 {
				m = min(m, r.MTU)
			}
			if mtu == 0 || m < mtu {
				mtu = m
			}
		}
	}
	if mtu <= vxlanOverhead+68 { // The smallest that IPv4 may have (RFC 791).
		return 0, false, fmt.Errorf("packets of %d bytes to the other nodes leave no room for VXLAN", mtu)
	}
	if !own.IsValid() {
		return mtu, false, nil
	}
	routes, err := netlink.RouteGet(own.AsSlice())
	return mtu, err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL, nil
}

func sameVxlan(link netlink.Link, want *netlink.Vxlan) bool {
	have, ok := link.(*netlink.Vxlan)
	return ok && have.VxlanId == want.VxlanId && have.Port == want.Port && have.GBP == want.GBP && !have.Learning && !have.FlowBased &&
		have.SrcAddr.Equal(want.SrcAddr) && bytes.Equal(have.HardwareAddr, want.HardwareAddr)
}

// ensureWays makes the entries of exactly the peers: where their end of the overlay is
// (forwarding), which hardware address their gateways have (neighbours), and that their
// subnets are behind these (routes).
func (d *Driver) ensureWays(link int, peers map[string]host) (mended []string, err error) {
	forwards, err := dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(link, unix.AF_BRIDGE) })
	if err != nil {
		return nil, fmt.Errorf("forwarding entries: %w", err)
	}
	neighbours, err := dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(link, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	if d.primed {
		if err := d.removeStrange(peers, forwards, neighbours, routes); err != nil {
			return nil, err
		}
	}
	for _, p := range peers {
		forward, neigh, route := d.wayTo(link, p)
		missing := 0
		if !slices.ContainsFunc(forwards, func(n netlink.Neigh) bool { return sameNeighbour(n, forward) }) {
			missing++
			if err := netlink.NeighSet(forward); err != nil {
				return mended, fmt.Errorf("forwarding entry of %s: %w", p.address, err)
			}
		}
		if !slices.ContainsFunc(neighbours, func(n netlink.Neigh) bool { return sameNeighbour(n, neigh) }) {
			missing++
			if err := netlink.NeighSet(neigh); err != nil {
				return mended, fmt.Errorf("neighbour %s: %w", p.gateway(), err)
			}
		}
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool { return sameRoute(r, route) }) {
			missing++
			if err := netlink.RouteReplace(route); err != nil {
				return mended, fmt.Errorf("route %s: %w", p.subnet, err)
			}
		}
		if missing > 0 {
			mended = append(mended, "way to "+p.subnet.String())
		}
	}
	return mended, nil
}

func (d *Driver) wayTo(link int, p host) (forward, neigh *netlink.Neigh, route *netlink.Route) {
	forward = &netlink.Neigh{LinkIndex: link, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP, Flags: netlink.NTF_SELF,
		IP: p.address.AsSlice(), HardwareAddr: p.hardware()}
	neigh = &netlink.Neigh{LinkIndex: link, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: p.gateway().AsSlice(), HardwareAddr: p.hardware()}
	route = &netlink.Route{LinkIndex: link, Dst: ipNet(p.subnet), Gw: p.gateway().AsSlice(), Flags: int(netlink.FLAG_ONLINK), Src: d.gateway().AsSlice()}
	return forward, neigh, route
}

func sameNeighbour(have netlink.Neigh, want *netlink.Neigh) bool {
	return have.IP.Equal(want.IP) && bytes.Equal(have.HardwareAddr, want.HardwareAddr) && have.State&netlink.NUD_PERMANENT != 0
}

func sameRoute(have netlink.Route, want *netlink.Route) bool {
	return have.Dst != nil && have.Dst.String() == want.Dst.String() && have.Gw.Equal(want.Gw) && have.Src.Equal(want.Src)
}

// removeStrange deletes what leads to nodes that are gone, or not to where they are.
func (d *Driver) removeStrange(peers map[string]host, forwards, neighbours []netlink.Neigh, routes []netlink.Route) error {
	var errs []error
	for _, n := range forwards {
		if p, ok := peers[n.HardwareAddr.String()]; !ok || !n.IP.Equal(p.address.AsSlice()) {
			errs = append(errs, ignoreGone(netlink.NeighDel(&n)))
		}
	}
	for _, n := range neighbours {
		if p, ok := peers[n.HardwareAddr.String()]; n.State&netlink.NUD_PERMANENT != 0 && (!ok || !n.IP.Equal(p.gateway().AsSlice())) {
			errs = append(errs, ignoreGone(netlink.NeighDel(&n)))
		}
	}
	for _, r := range routes {
		if !slices.ContainsFunc(slices.Collect(maps.Values(peers)), func(p host) bool { return r.Dst != nil && r.Dst.String() == ipNet(p.subnet).String() }) {
			errs = append(errs, ignoreGone(netlink.RouteDel(&r)))
		}
	}
	return errors.Join(errs...)
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return err
}

// fitPods gives pods' links the size that fits now: another node may have come.
func (d *Driver) fitPods() error {
	mtu := d.podMTU()
	if mtu == d.fitted {
		return nil
	}
	var errs []error
	for _, l := range d.leases.all() {
		link, err := netlink.LinkByName(d.linkName(l.Address))
		if err != nil || link.Attrs().MTU == mtu {
			continue // A link that is not there is made with the right size.
		}
		errs = append(errs, fitPod(link, l, mtu))
	}
	err := errors.Join(errs...)
	if err == nil {
		d.fitted = mtu
	}
	return err
}

// fitPod leaves a pod alone that is gone or has another namespace by now.
func fitPod(link netlink.Link, l lease, mtu int) error {
	if inode, err := namespaceOf(l.PID); err == nil && inode == l.Namespace {
		ns, _, err := openNamespace(l.PID)
		if err != nil {
			return err
		}
		defer ns.Close()
		inside, err := netlink.NewHandleAt(ns)
		if err != nil {
			return err
		}
		defer inside.Close()
		if eth0, err := inside.LinkByName("eth0"); err == nil {
			if err := inside.LinkSetMTU(eth0, mtu); err != nil {
				return fmt.Errorf("link eth0 behind %s: mtu %d: %w", link.Attrs().Name, mtu, err)
			}
		}
	}
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("link %s: mtu %d: %w", link.Attrs().Name, mtu, err)
	}
	return nil
}
