package network

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"slipway.dev/slipway/network/rules"
)

// connections says which tracked connections are meant.
type connections func(*netlink.ConntrackFlow) bool

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (c connections) MatchConntrackFlow(f *netlink.ConntrackFlow) bool { return c(f) }

func ofPod(a netip.Addr) connections {
	return func(f *netlink.ConntrackFlow) bool {
		return f.Forward.SrcIP.Equal(a.AsSlice()) || f.Reverse.SrcIP.Equal(a.AsSlice())
	}
}

// way is a service's address and port, and an endpoint behind it; none: what asked there before
// the address or the port was the service's.
type way struct{ front, back netip.AddrPort }

// lostWays is the ways over UDP that were there and no longer are. A connection over UDP
// never ends by itself: as long as a client goes on sending, the kernel sends to the
// endpoint that it chose at first, or to none.
func lostWays(before, now rules.Elements) map[way]bool {
	lost := waysOf(before)
	for w := range waysOf(now) {
		delete(lost, w)
	}
	for e := range now {
		if _, was := before[e]; was {
			continue
		}
		if front, ok := opens(e); ok {
			lost[way{front: front}] = true
		}
	}
	return lost
}

// opens is where an element has a service asked for over UDP, beside its own address: nobody
// has anything there without a service.
func opens(e rules.Element) (netip.AddrPort, bool) {
	key := strings.Split(e.Key, " . ")
	switch e.Set {
	case rules.NodePorts:
		key = append([]string{rules.AnyAddress.String()}, key...)
	case rules.FarPorts:
		key = append([]string{rules.FarAddress.String()}, key...)
	case rules.Externals:
	default:
		return netip.AddrPort{}, false
	}
	front, err := netip.ParseAddrPort(key[0] + ":" + key[2])
	return front, err == nil && key[1] == "udp"
}

func waysOf(elements rules.Elements) map[way]bool {
	out := map[way]bool{}
	for e, value := range elements {
		key := strings.Split(e.Key, " . ")
		if e.Set != rules.Endpoints || key[1] != "udp" {
			continue
		}
		front, err1 := netip.ParseAddrPort(key[0] + ":" + key[2])
		back, err2 := netip.ParseAddrPort(strings.ReplaceAll(value, " . ", ":"))
		if err1 == nil && err2 == nil {
			out[way{front, back}] = true
		}
	}
	return out
}

// astray is the connections over UDP that go a way that is lost, or that go from the
// service network to where none of the ways leads: those were lost while no process
// looked.
func astray(lost, now map[way]bool, services netip.Prefix) connections {
	return func(f *netlink.ConntrackFlow) bool {
		front, ok1 := netip.AddrFromSlice(f.Forward.DstIP)
		back, ok2 := netip.AddrFromSlice(f.Reverse.SrcIP)
		if !ok1 || !ok2 || f.Forward.Protocol != unix.IPPROTO_UDP {
			return false
		}
		w := way{netip.AddrPortFrom(front.Unmap(), f.Forward.DstPort), netip.AddrPortFrom(back.Unmap(), f.Reverse.SrcPort)}
		gone := services.Contains(w.front.Addr())
		// Ports of nodes stand for all of their addresses.
		for _, a := range []netip.Addr{w.front.Addr(), rules.AnyAddress, rules.FarAddress} {
			at := way{netip.AddrPortFrom(a, w.front.Port()), w.back}
			if now[at] {
				return false
			}
			gone = gone || lost[at] || w.front == w.back && lost[way{front: at.front}]
		}
		return gone
	}
}

// sweep forgets connections astray. What it could not do it does at the next call.
func (d *Driver) sweep() error {
	if d.swept && len(d.lost) == 0 {
		return nil
	}
	all := d.table.Elements()
	lost := d.lost
	if !d.swept {
		lost = lostWays(nil, all)
		maps.Copy(lost, d.lost)
	}
	if err := forgetConnections(astray(lost, waysOf(all), d.ServiceNetwork)); err != nil {
		return err
	}
	d.swept = true
	clear(d.lost)
	return nil
}

func forgetConnections(c connections) error {
	if _, err := dump(func() (uint, error) {
		return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, c)
	}); err != nil {
		return fmt.Errorf("forget tracked connections: %w", err)
	}
	return nil
}
