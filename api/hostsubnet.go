package api

import (
	"net/netip"

	networkv1 "github.com/openshift/api/network/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultHostSubnet(h *networkv1.HostSubnet) {
	if h.Host == "" {
		h.Host = h.Name
	}
}

// validateHostSubnet wants what OpenShift 3 wants, except that a node whose address is not
// known yet has none. Addresses for what leaves the cluster are not given to nodes.
func validateHostSubnet(h *networkv1.HostSubnet) field.ErrorList {
	var errs field.ErrorList
	if h.Host != h.Name {
		errs = append(errs, field.Invalid(field.NewPath("host"), h.Host, "must be the same as metadata.name: "+h.Name))
	}
	if a, err := netip.ParseAddr(h.HostIP); h.HostIP != "" && (err != nil || !a.Is4()) {
		errs = append(errs, field.Invalid(field.NewPath("hostIP"), h.HostIP, "must be an IPv4 address"))
	}
	if p, err := netip.ParsePrefix(h.Subnet); err != nil || !p.Addr().Is4() || p != p.Masked() {
		errs = append(errs, field.Invalid(field.NewPath("subnet"), h.Subnet, "must be an IPv4 network such as 10.128.2.0/23"))
	}
	if len(h.EgressIPs) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("egressIPs"), "egress addresses are not supported"))
	}
	if len(h.EgressCIDRs) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("egressCIDRs"), "egress addresses are not supported"))
	}
	return errs
}

// updateHostSubnet keeps a node's subnet as long as the node has it: pods have addresses of it.
func updateHostSubnet(n, old *networkv1.HostSubnet) field.ErrorList {
	if n.Subnet != old.Subnet {
		return field.ErrorList{field.Invalid(field.NewPath("subnet"), n.Subnet, "cannot change the subnet of a node")}
	}
	return nil
}
