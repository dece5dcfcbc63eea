package sources

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// ErrAddress says that a repository's host is at an address that tenants may not reach
// through Slipway.
var ErrAddress = errors.New("address refused")

// guard keeps the repositories of tenants from reaching what Slipway's own place in the
// network would open to them: services of this host, and the metadata services of clouds.
// Names are resolved, the address is checked, and that address is dialled: what a name
// means a moment later does not matter.
type guard struct {
	// reachable are exceptions; may be nil.
	reachable func(netip.AddrPort) bool
}

var refusedNetworks = map[netip.Prefix]string{
	netip.MustParsePrefix("0.0.0.0/8"):          "is this host",
	netip.MustParsePrefix("127.0.0.0/8"):        "is this host",
	netip.MustParsePrefix("::/128"):             "is this host",
	netip.MustParsePrefix("::1/128"):            "is this host",
	netip.MustParsePrefix("169.254.0.0/16"):     "is link-local, where clouds have their metadata services",
	netip.MustParsePrefix("fe80::/10"):          "is link-local",
	netip.MustParsePrefix("fd00:ec2::/32"):      "belongs to a cloud's metadata services",
	netip.MustParsePrefix("100.100.100.200/32"): "belongs to a cloud's metadata services",
	netip.MustParsePrefix("192.0.0.192/32"):     "belongs to a cloud's metadata services",
	netip.MustParsePrefix("224.0.0.0/4"):        "is multicast",
	netip.MustParsePrefix("ff00::/8"):           "is multicast",
	netip.MustParsePrefix("255.255.255.255/32"): "is broadcast",
}

// translated are networks whose addresses carry an IPv4 address in their last bytes.
var translated = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96")}

// check says why an address may not be dialled.
func (g guard) check(addr netip.AddrPort) error {
	ip := addr.Addr().Unmap().WithZone("")
	if g.reachable != nil && g.reachable(netip.AddrPortFrom(ip, addr.Port())) {
		return nil
	}
	candidates := []netip.Addr{ip}
	if ip.Is6() {
		raw := ip.As16()
		for _, p := range translated {
			if p.Contains(ip) {
				candidates = append(candidates, netip.AddrFrom4([4]byte(raw[12:])))
			}
		}
		if raw[0] == 0x20 && raw[1] == 0x02 { // 6to4
			candidates = append(candidates, netip.AddrFrom4([4]byte(raw[2:6])))
		}
	}
	for _, c := range candidates {
		for p, why := range refusedNetworks {
			if p.Contains(c) {
				return fmt.Errorf("%w: %s %s; only repositories of the administrators' project may be there", ErrAddress, ip, why)
			}
		}
	}
	return nil
}

// control is a net.Dialer's, called with the address that is about to be dialled.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrAddress, address)
	}
	return g.check(addr)
}

// resolve is the first address of a host, of which none may be refused.
func (g guard) resolve(ctx context.Context, host, port string) (netip.AddrPort, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: port %q", ErrURL, port)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, ip := range ips {
		if err := g.check(netip.AddrPortFrom(ip, uint16(n))); err != nil {
			return netip.AddrPort{}, err
		}
	}
	if len(ips) == 0 {
		return netip.AddrPort{}, fmt.Errorf("%s has no address", host)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}
