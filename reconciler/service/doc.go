// Package service gives Services their addresses and keeps their Endpoints.
//
// Two controllers do it. One allocates spec.clusterIP from the service network. That an
// address, given or asked for, is nobody else's is noted in the annotation
// slipway.dev/cluster-ip; where an older Service holds it, it is taken away again. The
// other makes Endpoints from the ready pods that a Service selects. Routers and the
// rules on the nodes are made from both.
package service
