package demo

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
)

// place is what tells a demo's network from that of another Slipway on this machine.
type place struct {
	// name of links, tables and chains, and tag of the base images.
	name             string
	cluster, service netip.Prefix
}

func (p place) String() string {
	return fmt.Sprintf("network %s, pods %s, services %s", p.name, p.cluster, p.service)
}

// freePlace looks at what this machine has and takes what is free.
func freePlace() (place, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return place{}, err
	}
	var links []string
	for _, i := range interfaces {
		links = append(links, i.Name)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return place{}, fmt.Errorf("read the routes of this machine: %w", err)
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok {
			ones, _ := r.Dst.Mask.Size()
			taken = append(taken, netip.PrefixFrom(a, ones))
		}
	}
	return choosePlace(links, taken)
}

// choosePlace prefers the names and networks of `slipway up`. A default route takes nothing.
func choosePlace(links []string, routes []netip.Prefix) (place, error) {
	const most = 9
	var p place
	for n := 1; n <= most && p.name == ""; n++ {
		name := "slipway"
		if n > 1 {
			name = fmt.Sprintf("slipwa%d", n)
		}
		if !begins(links, name) {
			p.name = name
		}
	}
	for n := 0; n < 32 && !p.cluster.IsValid(); n++ {
		p.cluster = unlessTaken(routes, netip.AddrFrom4([4]byte{10, byte(128 + 4*n), 0, 0}), 14)
	}
	for n := 30; n >= 16 && !p.service.IsValid(); n-- {
		p.service = unlessTaken(routes, netip.AddrFrom4([4]byte{172, byte(n), 0, 0}), 16)
	}
	switch {
	case p.name == "":
		return p, fmt.Errorf("%d instances of Slipway run here already: take one away with `slipway down`", most)
	case !p.cluster.IsValid() || !p.service.IsValid():
		return p, fmt.Errorf("no /14 of 10.128.0.0/9 for pods, or no /16 of 172.16.0.0/12 for services, is free of routes")
	}
	return p, nil
}

// begins says whether some link is one that an instance of a name makes.
func begins(links []string, name string) bool {
	for _, l := range links {
		if l == name+"0" || strings.HasPrefix(l, name+"-") {
			return true
		}
	}
	return false
}

func unlessTaken(routes []netip.Prefix, a netip.Addr, bits int) netip.Prefix {
	want := netip.PrefixFrom(a, bits)
	for _, r := range routes {
		if r.Bits() > 0 && r.Overlaps(want) {
			return netip.Prefix{}
		}
	}
	return want
}
