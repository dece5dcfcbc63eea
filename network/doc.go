// Package network gives each node its pods' network: addresses, links, service rules,
// isolation between projects, and names.
//
// # Links
//
// Every pod has a pair of links of its own: eth0 in the pod's namespace, holding its
// address as a /32, and on the node a link named after the address. The pod sends
// everything to the gateway, which is the node's own address in its subnet and sits on a
// bridge without ports; the node has a /32 route to each pod. So every packet between
// two pods is routed by the node and passes its forward hook, whatever
// bridge-nf-call-iptables is, and there is no shared segment on which one pod could
// answer for another's address: both ends know each other's hardware address beforehand,
// and what does not come from the pod's own address is dropped. A bridge with ports
// would need port isolation, proxy ARP and br_netfilter to reach the same.
//
// # Rules
//
// Package rules holds services, isolation and what pods may ask of their node in one nft
// table. Beside it, a few iptables rules let the pods' traffic through where the policy of FORWARD
// is DROP, as Docker sets it, and masquerade what leaves the cluster. With a host
// firewall both must accept, and either may refuse.
//
// # Other nodes
//
// What HostSubnets say of the other nodes becomes static entries of a VXLAN: nothing is
// learned or asked for on the way. Each packet between nodes carries the virtual network of its
// sender (package rules), so that isolation holds also where the one node has not heard yet
// what the other runs. The size of packets is found from the routes to the other nodes.
//
// # State
//
// The node's subnet is in its HostSubnet and in Node.spec.podCIDR. Which pod has which address is
// kept in a file on the node, and can be found again from the links alone. What is
// in place stays in place while no process runs; Up adopts it. A loop looks every
// second whether somebody else has changed links, routes or rules, and puts them back.
package network
