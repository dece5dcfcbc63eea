package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"k8s.io/apimachinery/pkg/types"
)

var errNotUp = errors.New("network is not up")

// Attach gives the pod whose network namespace is that of process sandboxPID its address
// and links, and returns the address. The rules for the pod are in effect when it
// returns. Called again it repairs what is missing; a pod with a new sandbox keeps its address.
func (d *Driver) Attach(ctx context.Context, pod types.NamespacedName, sandboxPID int) (netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.up {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, errNotUp)
	}
	if err := d.prime(ctx); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: read services and pods: %w", pod, err)
	}
	l, err := d.leases.take(pod)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, err)
	}
	if err := d.describe(ctx, pod); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: read its labels: %w", pod, err)
	}
	d.place(pod, l.Address)
	if err := d.sync(); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, err)
	}
	l.PID = sandboxPID
	if l.Namespace, err = d.connect(pod, l); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, err)
	}
	if err := d.leases.put(pod, l); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, err)
	}
	d.wishes.forgetSandbox(pod)
	if err := d.linkPod(pod); err != nil {
		return netip.Addr{}, fmt.Errorf("attach pod %s: %w", pod, err)
	}
	return l.Address, nil
}

// Detach takes the pod's links and address away. A pod that has none is no error.
func (d *Driver) Detach(ctx context.Context, pod types.NamespacedName) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.up {
		return fmt.Errorf("detach pod %s: %w", pod, errNotUp)
	}
	l, has := d.leases.of(pod)
	if !has {
		return nil
	}
	link, err := netlink.LinkByName(d.linkName(l.Address))
	if err == nil {
		err = deleteLink(link)
	}
	if err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return fmt.Errorf("detach pod %s: %w", pod, err)
	}
	d.displace(pod)
	if err := d.sync(); err != nil {
		return fmt.Errorf("detach pod %s: %w", pod, err)
	}
	if err := forgetConnections(ofPod(l.Address)); err != nil {
		return fmt.Errorf("detach pod %s: %w", pod, err)
	}
	d.letGo(pod)
	if err := d.leases.free(pod); err != nil {
		return fmt.Errorf("detach pod %s: %w", pod, err)
	}
	return nil
}

// connect makes both ends of the pod's link, unless they are there.
func (d *Driver) connect(pod types.NamespacedName, l lease) (namespace uint64, err error) {
	ns, inode, err := openNamespace(l.PID)
	if err != nil {
		return 0, err
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return 0, fmt.Errorf("network namespace of process %d: %w", l.PID, err)
	}
	defer inside.Close()
	name := d.linkName(l.Address)
	if !areConnected(inside, name) {
		if err := d.makePair(inside, pod, l.Address, int(ns)); err != nil {
			return 0, err
		}
	}
	if err := d.finishNodeSide(l.Address); err != nil {
		return 0, fmt.Errorf("link %s: %w", name, err)
	}
	if err := finishPodSide(inside, l.Address, d.gateway()); err != nil {
		return 0, fmt.Errorf("link eth0 of pod %s: %w", pod, err)
	}
	return inode, nil
}

// openNamespace refuses a process that shares the node's own namespace: links made
// there would be the node's.
func openNamespace(pid int) (netns.NsHandle, uint64, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return ns, 0, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	inode, err := namespaceOf(pid)
	own, ownErr := inodeOf("/proc/thread-self/ns/net")
	if err = errors.Join(err, ownErr); err == nil && inode == own {
		err = fmt.Errorf("process %d shares the node's network namespace", pid)
	}
	if err != nil {
		ns.Close()
		return ns, 0, err
	}
	return ns, inode, nil
}

func namespaceOf(pid int) (uint64, error) { return inodeOf(fmt.Sprintf("/proc/%d/ns/net", pid)) }

func inodeOf(file string) (uint64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// areConnected says that eth0 inside and the node's link are each other's ends.
func areConnected(inside *netlink.Handle, name string) bool {
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return false
	}
	outer, err := netlink.LinkByName(name)
	return err == nil && outer.Attrs().ParentIndex == eth0.Attrs().Index && eth0.Attrs().ParentIndex == outer.Attrs().Index
}

func (d *Driver) makePair(inside *netlink.Handle, pod types.NamespacedName, a netip.Addr, ns int) error {
	name := d.linkName(a)
	if stale, err := inside.LinkByName("eth0"); err == nil {
		if err := inside.LinkDel(stale); err != nil {
			return fmt.Errorf("link eth0 of an earlier attempt: delete: %w", err)
		}
	}
	if stale, err := netlink.LinkByName(name); err == nil {
		if err := deleteLink(stale); err != nil {
			return err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, d.podMTU(), hardware(a, nodeEnd)
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: hardware(a, podEnd), PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.LinkSetAlias(link, pod.String()); err != nil {
		return fmt.Errorf("link %s: alias: %w", name, err)
	}
	return nil
}

// The first bytes of the links' hardware addresses: locally administered, unicast.
const (
	podEnd  = 0x58
	nodeEnd = 0x59
)

// hardware derives a link's hardware address from the pod's address.
func hardware(a netip.Addr, end byte) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x0a, end, b[0], b[1], b[2], b[3]}
}

// finishNodeSide settles the node's end: no IPv6, by which a pod could reach the node
// past our rules, and nothing from an address that is not the pod's.
func (d *Driver) finishNodeSide(a netip.Addr) error {
	name := d.linkName(a)
	if _, err := setSysctl("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The rules look at where each packet comes from before anything else is done with it. Where
	// nftables has them, the kernel need not look a second time.
	reverse := "0"
	if d.byChains {
		reverse = "1"
	}
	if _, err := setSysctl("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", reverse); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	if err := netlink.NeighSet(neighbour(link, a, hardware(a, podEnd))); err != nil {
		return fmt.Errorf("neighbour %s: %w", a, err)
	}
	_, err = ensureRoute(d.podRoute(link, a))
	return err
}

func (d *Driver) podRoute(link netlink.Link, a netip.Addr) *netlink.Route {
	return &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, 32)), Scope: netlink.SCOPE_LINK, Src: d.gateway().AsSlice()}
}

func neighbour(link netlink.Link, a netip.Addr, h net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: h}
}

// finishPodSide gives the pod its address and the way to the gateway.
func finishPodSide(inside *netlink.Handle, a, gateway netip.Addr) error {
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := inside.AddrReplace(eth0, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 32))}); err != nil {
		return fmt.Errorf("address %s: %w", a, err)
	}
	if err := inside.LinkSetUp(eth0); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	if err := inside.NeighSet(neighbour(eth0, gateway, hardware(a, nodeEnd))); err != nil {
		return fmt.Errorf("neighbour %s: %w", gateway, err)
	}
	everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	way := &netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: everything, Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := inside.RouteReplace(way); err != nil {
		return fmt.Errorf("route by %s: %w", gateway, err)
	}
	return nil
}
