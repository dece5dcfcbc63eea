// Package service gives Services their addresses and keeps their Endpoints.
//
// Two controllers do it. One allocates spec.clusterIP from the service network, and notes
// what it gave in the annotation slipway.dev/cluster-ip; an address that a Service asks
// for is checked, and taken away again where an older Service holds it. The other makes
// Endpoints from the ready pods that a Service selects. Routers and the rules on the
// nodes are made from both.
package service
