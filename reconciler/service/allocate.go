package service

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// errFull says that every address of the network is given.
var errFull = errors.New("the service network has no free address")

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
	return netip.Addr{}, fmt.Errorf("%w: %s", errFull, network)
}

// nth is the address n behind base; base ends in enough zero bits.
func nth(base netip.Addr, n uint64) netip.Addr {
	b := base.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+uint32(n))
	a, _ := netip.AddrFromSlice(b)
	return a
}

// wantsAddress says whether a service is to get an address: not where it has one, says
// that it has none, or is but another name.
func wantsAddress(s *corev1.Service) bool {
	return s.DeletionTimestamp == nil && s.Spec.ClusterIP == "" && s.Spec.Type != corev1.ServiceTypeExternalName
}

// addressOf is a service's address, if it has one.
func addressOf(s *corev1.Service) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s.Spec.ClusterIP)
	return a, err == nil
}

// checked says whether it is known that nobody else has the service's address.
func checked(s *corev1.Service) bool {
	return s.Annotations[api.ServiceAddressAnnotation] == s.Spec.ClusterIP
}

// elder orders services that hold the same address: the first, which is the older one,
// keeps it. Whoever asks for an address that is taken must not get its traffic.
func elder(a, b *corev1.Service) int {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name),
	)
}
