// Package node looks after nodes: what git says of them, whether they report, and what becomes of
// their pods.
//
// A NodeConfig (git) is laid over the Node of its name: labels, taints, cordon (shape.go). A node that
// has not reported for a while gets its condition Ready set to Unknown, a taint, and its pods lose
// their readiness, so that no traffic goes to them (reconcile.go). Pods leave a node (leave.go) because
// of a taint that they do not tolerate, or not for longer; because the node is drained, as
// PodDisruptionBudgets allow (evict.go); or at once, because the node is known to be gone. A pod with a
// state of its own leaves a silent node only in the last case: it may still be running there, and two
// of it would write to one volume. Where most nodes are silent, it is more likely that the server hears
// nothing, and nobody leaves.
//
// The budgets' status is kept by a controller of its own (budget.go).
package node
