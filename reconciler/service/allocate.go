package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"slipway.dev/slipway/api"
)

// errFull says that everything of its kind is given.
var errFull = errors.New("there is none left")

// maxSpan bounds the search in networks with more addresses than could ever be used.
const maxSpan = 1 << 24

// Allocate chooses the address of a service: the first free one from a place that its
// name decides, so that a service which is made again usually gets the address it had,
// and that different services seldom want the same one.
func Allocate(network netip.Prefix, namespace, name string, taken func(netip.Addr) bool) (netip.Addr, error) {
	network = network.Masked()
	bits := network.Addr().BitLen() - network.Bits()
	size := uint64(maxSpan)
	if bits < 24 {
		size = 1 << bits
	}
	if size < 4 {
		return netip.Addr{}, fmt.Errorf("service network %s is too small", network)
	}
	usable := size - 2
	h := fnv.New64a()
	_, _ = h.Write([]byte(namespace + "/" + name))
	start := h.Sum64() % usable
	for i := range usable {
		if a := nth(network.Addr(), 1+(start+i)%usable); !taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: every address of %s is given", errFull, network)
}

// nth is the address n behind base; base ends in enough zero bits.
func nth(base netip.Addr, n uint64) netip.Addr {
	b := base.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+uint32(n))
	a, _ := netip.AddrFromSlice(b)
	return a
}

// AllocatePort chooses a node port, from a place that the service's name and port decide.
func AllocatePort(namespace, name string, port int32, taken func(int32) bool) (int32, error) {
	const span = api.LastNodePort - api.FirstNodePort + 1
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%s:%d", namespace, name, port)
	start := int32(h.Sum64() % span)
	for i := range int32(span) {
		if p := api.FirstNodePort + (start+i)%span; !taken(p) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%w: every port from %d to %d is given", errFull, api.FirstNodePort, api.LastNodePort)
}
