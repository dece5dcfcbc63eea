// Package schedule binds pods to nodes: Pod → Node.
//
// A world (world.go) follows nodes, pods, services, claims, volumes, projects, priority classes and
// the scheduler's policy through the watches of the controller, and keeps what a decision needs added
// up: what a node has left, which of its ports are taken, how many pods each selector that anybody
// asked about has on each node. The cost of a decision grows with the nodes, not with the pods.
//
// A decision (decide.go) takes the pod that is first in the queue (queue.go), by priority and then by
// age; asks every predicate of the policy (predicates.go) about every node, and every priority
// (priorities.go) about those that fit; and books the pod on the best one in the world before anyone
// else is decided about. Then spec.nodeName is written, on the condition that the pod is still as it
// was seen; if the write fails, the booking is undone. Whoever dies in between leaves a pod that is
// bound or not, and nothing else: a new leader reads the world anew.
//
// A pod that fits nowhere says why in its condition PodScheduled and in an event, and waits for
// something to change that could help. Nobody is preempted.
package schedule
