package rules

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	networkingv1 "k8s.io/api/networking/v1"
)

// span is a range of numbers, both ends included: addresses or ports.
type span struct{ first, last uint32 }

var everywhere = span{0, 0xffffffff}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addressAt(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// spanOf is all addresses of an IPv4 network.
func spanOf(p netip.Prefix) span {
	first := number(p.Masked().Addr())
	return span{first, first | uint32(1<<(32-p.Bits())-1)}
}

func (s span) addresses() string {
	if s.first == s.last {
		return addressAt(s.first).String()
	}
	return addressAt(s.first).String() + "-" + addressAt(s.last).String()
}

func (s span) numbers() string {
	if s.first == s.last {
		return strconv.FormatUint(uint64(s.first), 10)
	}
	return strconv.FormatUint(uint64(s.first), 10) + "-" + strconv.FormatUint(uint64(s.last), 10)
}

// union is the same numbers in the fewest spans, in order.
func union(list []span) []span {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b span) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	var out []span
	for _, s := range list {
		if n := len(out); n > 0 && (s.first <= out[n-1].last || s.first == out[n-1].last+1) {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// without is what of the spans is in none of the others.
func without(list, others []span) []span {
	var out []span
	for _, s := range union(list) {
		at := s.first
		covered := false
		for _, o := range union(others) {
			if o.last < at || o.first > s.last {
				continue
			}
			if o.first > at {
				out = append(out, span{at, o.first - 1})
			}
			if o.last >= s.last {
				covered = true
				break
			}
			at = o.last + 1
		}
		if !covered {
			out = append(out, span{at, s.last})
		}
	}
	return out
}

// blockSpans is the IPv4 addresses of a block without its exceptions.
func blockSpans(b *networkingv1.IPBlock) []span {
	read := func(texts ...string) (out []span) {
		for _, text := range texts {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() {
				out = append(out, spanOf(p))
			}
		}
		return out
	}
	return without(read(b.CIDR), read(b.Except...))
}

// apart is the same addresses and ports in boxes that do not overlap, in order.
func apart(boxes []box) []box {
	var cuts []uint64
	for _, b := range boxes {
		cuts = append(cuts, uint64(b.addresses.first), uint64(b.addresses.last)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	type slab struct {
		addresses span
		ports     []span
	}
	var slabs []slab
	for i := 0; i+1 < len(cuts); i++ {
		at := span{uint32(cuts[i]), uint32(cuts[i+1] - 1)}
		var ports []span
		for _, b := range boxes {
			if b.addresses.first <= at.first && at.last <= b.addresses.last {
				ports = append(ports, b.ports)
			}
		}
		ports = union(ports)
		if n := len(slabs); n > 0 && slabs[n-1].addresses.last+1 == at.first && slices.Equal(slabs[n-1].ports, ports) {
			slabs[n-1].addresses.last = at.last
			continue
		}
		slabs = append(slabs, slab{at, ports})
	}
	var out []box
	for _, s := range slabs {
		for _, p := range s.ports {
			out = append(out, box{s.addresses, p})
		}
	}
	return out
}
