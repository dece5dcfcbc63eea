package table

import (
	"fmt"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
)

// hostSubnetCells are the columns that oc shows.
func hostSubnetCells(h *networkv1.HostSubnet, _ time.Time) []any {
	return []any{h.Name, h.Host, h.HostIP, h.Subnet, fmt.Sprint(h.EgressCIDRs), fmt.Sprint(h.EgressIPs)}
}

// netNamespaceCells are the columns that oc shows.
func netNamespaceCells(n *networkv1.NetNamespace, _ time.Time) []any {
	return []any{n.Name, n.NetID, fmt.Sprint(n.EgressIPs)}
}
