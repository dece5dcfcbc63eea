// Package service gives Services their addresses and keeps their Endpoints.
//
// Two controllers do it. One allocates spec.clusterIP from the service network, node ports
// for NodePort and LoadBalancer services, and load balancers' addresses from a network that
// an administrator sets aside. That what was given or asked for is nobody else's is
// noted in the annotations slipway.dev/cluster-ip, slipway.dev/node-ports and
// slipway.dev/external-ips; where an older Service holds it, it is taken away again. Nodes
// serve no node port and no outer address that is not noted. The other controller makes
// Endpoints from the ready pods that a Service selects. Routers and the rules on the
// nodes are made from both.
package service
