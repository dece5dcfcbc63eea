package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
)

// A dockerd that is told `--bridge none` deletes the link docker0, whoever made it. Beside
// another engine's docker0 a private engine therefore gets a bridge of its own, which
// leads no further than the host.
const defaultBridge = "docker0"

// bridges is where a bridge's subnet is taken from: the range that is set aside for
// benchmarks between networks (RFC 2544), which no host's own network uses.
var bridges = netip.MustParsePrefix("198.18.0.0/15")

const bridgeBits = 28

// makeBridge makes the daemon's bridge where it needs one, and answers what to tell
// dockerd's --bridge.
func (d *daemon) makeBridge() (string, error) {
	var absent netlink.LinkNotFoundError
	if _, err := netlink.LinkByName(defaultBridge); errors.As(err, &absent) {
		return "none", nil
	} else if err != nil {
		return "", fmt.Errorf("look for the link %s: %w", defaultBridge, err)
	}
	taken, err := routed()
	if err != nil {
		return "", err
	}
	subnet, err := freeSubnet(d.namespace, taken)
	if err != nil {
		return "", err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = d.bridge
	if err := netlink.LinkAdd(bridge); err != nil {
		return "", fmt.Errorf("make bridge %s: %w", d.bridge, err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: subnet.Addr().Next().AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}}
	if err := netlink.AddrAdd(bridge, address); err != nil {
		return "", fmt.Errorf("give bridge %s the address %s: %w", d.bridge, address.IPNet, err)
	}
	return d.bridge, nil
}

// removeBridge removes the daemon's bridge if there is one.
func (d *daemon) removeBridge() error {
	var absent netlink.LinkNotFoundError
	link, err := netlink.LinkByName(d.bridge)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err == nil || errors.As(err, &absent) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove bridge %s: %w", d.bridge, err)
}

// routed lists the IPv4 subnets that the host has routes to, without the default route.
func routed() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var subnets []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 {
			subnets = append(subnets, netip.PrefixFrom(address, ones))
		}
	}
	return subnets, nil
}

// freeSubnet picks a subnet of [bridges] by name, and where a taken one overlaps it,
// the next that is free.
func freeSubnet(name string, taken []netip.Prefix) (netip.Prefix, error) {
	h := fnv.New32a()
	h.Write([]byte(name))
	count := uint32(1) << (bridgeBits - bridges.Bits())
	base := bridges.Addr().As4()
	first := uint32(base[0])<<24 | uint32(base[1])<<16
	for i := range count {
		n := first | (h.Sum32()+i)%count<<(32-bridgeBits)
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), bridgeBits)
		if !overlaps(subnet, taken) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free subnet for a bridge: routes cover all of %s", bridges)
}

func overlaps(subnet netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(subnet) {
			return true
		}
	}
	return false
}
