// Package schedule binds pods to nodes: Pod → Node.
//
// Pick is the decision: which nodes can run a pod, and which of those has the most
// room and the fewest of its siblings. The controller reads, decides and writes
// spec.nodeName with compare-and-swap; a pod that fits nowhere says why in its
// condition PodScheduled and waits for a node or another pod to change.
package schedule
