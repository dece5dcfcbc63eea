package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// ensureBridge makes the bridge that holds the gateway's address, and the routes of the
// cluster's networks. What is addressed to no node is refused at once instead of leaving
// by the default route; the node's subnet leads to the bridge so that rules answer what is
// addressed to no pod, and the service network so that the node's own connections to
// services have the gateway as their source.
func (d *Driver) ensureBridge() (mended []string, err error) {
	link, err := netlink.LinkByName(d.bridgeName())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = d.bridgeName(), outsideMTU()
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, fmt.Errorf("link %s: %w", d.bridgeName(), err)
		}
		mended = append(mended, "link "+d.bridgeName())
		link, err = netlink.LinkByName(d.bridgeName())
	}
	if err != nil {
		return mended, fmt.Errorf("link %s: %w", d.bridgeName(), err)
	}
	if link.Attrs().Alias != d.mark() {
		if err := netlink.LinkSetAlias(link, d.mark()); err != nil {
			return mended, fmt.Errorf("link %s: alias: %w", d.bridgeName(), err)
		}
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(d.gateway(), 32))}
	have, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return mended, fmt.Errorf("link %s: addresses: %w", d.bridgeName(), err)
	}
	if !containsAddress(have, address) {
		if err := netlink.AddrReplace(link, address); err != nil {
			return mended, fmt.Errorf("link %s: address %s: %w", d.bridgeName(), address, err)
		}
		mended = append(mended, "address "+d.gateway().String())
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return mended, fmt.Errorf("link %s: set up: %w", d.bridgeName(), err)
		}
		mended = append(mended, "state of link "+d.bridgeName())
	}
	for _, r := range []*netlink.Route{
		{Dst: ipNet(d.ClusterNetwork), Type: unix.RTN_UNREACHABLE},
		{Dst: ipNet(d.subnet), LinkIndex: link.Attrs().Index, Src: d.gateway().AsSlice(), Scope: netlink.SCOPE_LINK},
		{Dst: ipNet(d.ServiceNetwork), LinkIndex: link.Attrs().Index, Src: d.gateway().AsSlice(), Scope: netlink.SCOPE_LINK},
	} {
		added, err := ensureRoute(r)
		if err != nil {
			return mended, err
		}
		if added {
			mended = append(mended, "route "+r.Dst.String())
		}
	}
	return mended, nil
}

func containsAddress(have []netlink.Addr, want *netlink.Addr) bool {
	for _, a := range have {
		if a.IPNet.String() == want.IPNet.String() {
			return true
		}
	}
	return false
}

// ensureRoute adds a route unless there is one to the same destination by the same link.
func ensureRoute(r *netlink.Route) (added bool, err error) {
	filter := &netlink.Route{Dst: r.Dst, Table: unix.RT_TABLE_MAIN}
	have, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return false, fmt.Errorf("route %s: %w", r.Dst, err)
	}
	for _, h := range have {
		// The kernel gives unreachable routes to the loopback link in some versions.
		if h.LinkIndex == r.LinkIndex || r.Type == unix.RTN_UNREACHABLE && h.Type == r.Type {
			return false, nil
		}
	}
	if err := netlink.RouteReplace(r); err != nil {
		return false, fmt.Errorf("route %s: %w", r.Dst, err)
	}
	return true, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// outsideMTU is that of the link of the default route, which is what a packet of a pod
// must fit through; 1500 without such a route.
func outsideMTU() int {
	const ethernet = 1500
	routes, err := allRoutes()
	if err != nil {
		return ethernet
	}
	for _, r := range routes {
		if r.Dst != nil && !(r.Dst.IP.IsUnspecified() && isWhole(r.Dst.Mask)) {
			continue
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return link.Attrs().MTU
		}
	}
	return ethernet
}

// podMTU is what every packet of a pod fits through, outside and to other nodes' pods.
func (d *Driver) podMTU() int {
	if d.overlayMTU > 0 {
		return min(outsideMTU(), d.overlayMTU)
	}
	return outsideMTU()
}

func isWhole(m net.IPMask) bool {
	ones, _ := m.Size()
	return ones == 0
}

// adoptLinks finds leases again that the file does not know, from the links: their names
// hold the address and their aliases the pod.
func (d *Driver) adoptLinks() error {
	links, err := allLinks()
	if err != nil {
		return err
	}
	for _, l := range links {
		a, ours := d.linkAddress(l.Attrs().Name)
		namespace, name, named := strings.Cut(l.Attrs().Alias, "/")
		pod := types.NamespacedName{Namespace: namespace, Name: name}
		if !ours || !named || !d.subnet.Contains(a) {
			continue
		}
		if _, known := d.leases.of(pod); known {
			continue
		}
		d.Log.Warn("found a pod's address again by its link", "pod", pod.String(), "address", a.String())
		if err := d.leases.put(pod, lease{Address: a}); err != nil {
			return err
		}
	}
	return nil
}

// removeLinks deletes the pods' links and the bridge, and with them their routes.
func (d *Driver) removeLinks() error {
	links, err := allLinks()
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		_, ours := d.linkAddress(l.Attrs().Name)
		if ours || l.Attrs().Name == d.bridgeName() || l.Attrs().Name == d.overlayName() {
			errs = append(errs, deleteLink(l))
		}
	}
	unreachable := &netlink.Route{Dst: ipNet(d.ClusterNetwork), Type: unix.RTN_UNREACHABLE}
	if err := netlink.RouteDel(unreachable); err != nil && !errors.Is(err, syscall.ESRCH) {
		errs = append(errs, fmt.Errorf("route %s: %w", d.ClusterNetwork, err))
	}
	return errors.Join(errs...)
}

// deleteLink takes a link that is gone already for deleted.
func deleteLink(l netlink.Link) error {
	err := netlink.LinkDel(l)
	if err == nil || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EINVAL) && isGone(l.Attrs().Name) {
		return nil
	}
	return fmt.Errorf("link %s: delete: %w", l.Attrs().Name, err)
}

func isGone(name string) bool {
	_, err := netlink.LinkByName(name)
	return errors.As(err, &netlink.LinkNotFoundError{})
}
