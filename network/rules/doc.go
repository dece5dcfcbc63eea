// Package rules decides, as a value, what a node's packet filter does for services and
// between projects, and carries it out over netlink.
//
// The decision is text. A Frame is the constant part: a handful of chains whose number
// of rules does not depend on how many services and pods there are. An Element is one
// entry of one of its sets, written as nft writes it:
//
//	services   address . protocol . port          → the chain that spreads over N endpoints
//	externals  the same for outer addresses, which everybody may ask for
//	nodeports  protocol . port                    → the same for ports of the node's addresses
//	farports   protocol . port                    → the same for pods that ask another node's address
//	endpoints  address . protocol . port . index  → endpoint address . port
//	refused    address . protocol . port            an outer address without endpoints
//	affinity   client . address . protocol . port → index; filled by the kernel
//	hairpin    pod . pod                            a pod that may reach itself by a service
//	netids     pod                                → the virtual network of its project
//	members    pod . netid                          the same, to be looked up in one step
//	hostports  port                                 what pods may open on the node
//	carries    pod → number                         what tells other nodes the pod's virtual network
//	admits     pod . number                         what the pod takes from other nodes
//	overlays   port                                 where this node takes what other nodes send for its pods
//	peers      address                              where the other nodes are
//
// A connection to a service is looked up in services, goes to the chain spread-N, draws an
// index below N and is translated to what endpoints holds for it. With session affinity
// that is the chain sticky-N-SECONDS, where a client gets the index that affinity holds, as
// long as there is an endpoint of it. Ports of the node go to nodespread-N and nodesticky-N-SECONDS, and stand
// in endpoints under the address 0.0.0.0; those of other nodes, where they lead elsewhere, to
// farspread-N and farsticky-N-SECONDS, and under 0.0.0.1. What is still addressed to the service network after that
// has no endpoint and is refused.
//
// What is for an address that no pod has is answered, too: whoever has a connection to a pod that
// has gone learns it from the next packet. Connections are not forgotten before, when a pod only leaves
// a service: they end by themselves, in order.
//
// Between pods, the first packets of a connection are looked up for isolation, and mark
// the connection with an epoch; the others pass by that mark until the epoch ends, which it does in
// the transaction that takes an address out of its virtual network.
//
// A Table holds the elements by owner (a service, a pod), so that a change of one
// object costs work in proportion to that object. A Kernel brings a table into the
// kernel, one netlink transaction per change, and finds out when somebody else has
// changed what it made.
package rules
