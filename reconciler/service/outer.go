package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Range is a network, or with Except what is taken out of the others.
type Range struct {
	netip.Prefix
	Except bool
}

// ParseRanges reads networks such as 192.0.2.0/24; with ! before it, a network is taken out
// of the others, as in OpenShift's externalIPNetworkCIDRs.
func ParseRanges(list []string) ([]Range, error) {
	var out []Range
	for _, text := range list {
		word, except := strings.CutPrefix(text, "!")
		p, err := netip.ParsePrefix(word)
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("%q: want a network such as 192.0.2.0/24, or one taken out of it such as !192.0.2.128/25", text)
		}
		out = append(out, Range{p.Masked(), except})
	}
	return out, nil
}

// permits says whether an address is in one of the networks and in none that is taken out.
func permits(ranges []Range, a netip.Addr) bool {
	ok := false
	for _, r := range ranges {
		if r.Contains(a) {
			if r.Except {
				return false
			}
			ok = true
		}
	}
	return ok
}

// outerAddresses are the addresses of a service that an administrator permits, and those
// that nobody does.
func outerAddresses(s *corev1.Service, ranges []Range) (permitted, refused []netip.Addr) {
	for _, text := range s.Spec.ExternalIPs {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || slices.Contains(permitted, a) || slices.Contains(refused, a):
		case permits(ranges, a):
			permitted = append(permitted, a)
		default:
			refused = append(refused, a)
		}
	}
	return permitted, refused
}

type ownership = metav1.ManagedFieldsEntry

const applied = metav1.ManagedFieldsOperationApply

func namesPort(m ownership) bool {
	return m.FieldsV1 != nil && m.Subresource == "" && strings.Contains(m.FieldsV1.GetRawString(), `"f:nodePort"`)
}

// disown makes the node ports given here nobody's: were they ours, a port that leaves git
// would stay behind as an entry without more than its node port.
func disown(s *corev1.Service) {
	s.ManagedFields = slices.DeleteFunc(s.ManagedFields, func(m ownership) bool { return m.Operation != applied && namesPort(m) })
}
