// Package subnet gives each node its part of the cluster network: Node.spec.podCIDR says
// which, and a HostSubnet (OpenShift 3's kind) tells the other nodes where it is.
//
// No server needs to lead to give one away, because a server that starts needs one for its
// own node before anybody leads. Who wants a subnet writes it into the Node and then reads
// all Nodes: of two who wrote the same one, the later sees the earlier's. Whoever sees the
// other's lets go of its own and tries again, so that at most one keeps it. Only then the
// HostSubnet is made, and only a subnet with a HostSubnet is used. A crash in
// between leaves a Node with a subnet that nobody uses yet, and the next look ends the
// claim or gives it up.
//
// A subnet is free again when its Node is gone.
package subnet
