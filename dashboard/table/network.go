package table

import (
	"fmt"
	"time"

	networkv1 "github.com/openshift/api/network/v1"

	"slipway.dev/slipway/api"
)

// hostSubnetCells are the columns that oc shows.
func hostSubnetCells(h *networkv1.HostSubnet, _ time.Time) []any {
	return []any{h.Name, h.Host, h.HostIP, h.Subnet, fmt.Sprint(h.EgressCIDRs), fmt.Sprint(h.EgressIPs)}
}

// netNamespaceCells are the columns that oc shows. Where a project's network is asked for by a
// word, that is shown: the number 0 would say that it is global.
func netNamespaceCells(n *networkv1.NetNamespace, _ time.Time) []any {
	network := n.Annotations[api.ChangeNetworkAnnotation]
	if network == "" {
		network = fmt.Sprint(n.NetID)
	}
	return []any{n.Name, network, fmt.Sprint(n.EgressIPs)}
}
