// Package runtime is the agent of a node: it makes Docker containers match the pods
// that are bound to the node, and reports what runs.
//
// A pod is a sandbox container, whose pause process holds the network and IPC
// namespaces, and the pod's containers joined to it. Nothing is kept in a database of
// the agent's own. What it has to know after a crash is with the containers:
//
//	slipway.dev/instance       which agent they belong to; it touches no other's
//	slipway.dev/pod-namespace, slipway.dev/pod-name, slipway.dev/pod-uid
//	slipway.dev/kind           sandbox, init, app, or pooled: a sandbox made before its pod
//	slipway.dev/container      the container's name in the pod
//	slipway.dev/attempt        how often it was started before: its restart count
//	slipway.dev/hash           of what it was made from
//	slipway.dev/sandbox        the id of the sandbox that it is joined to
//	slipway.dev/backoff        how long after its end the next may start
//	slipway.dev/grace          how long it may take to stop, should the pod vanish
//	slipway.dev/generation     of the pod when it was made
//	slipway.dev/message-policy where what it says at its end is looked for
//	slipway.dev/gate           the program that it becomes behind its gate
//
// and its files are below Dir:
//
//	pods/<namespace>_<name>_<uid>/etc/       hosts, resolv.conf, hostname
//	pods/<namespace>_<name>_<uid>/volumes/   one directory per volume
//	pods/<namespace>_<name>_<uid>/messages/  what containers said when they ended
//	pods/<namespace>_<name>_<uid>/gates/     where containers in a sandbox from the pool begin
//	pods/<namespace>_<name>_<uid>/sandbox    which sandbox of the pool is the pod's
//
// A pod's directory is made before its sandbox and removed after everything else of
// it: where there is a directory, there may be containers and an address.
//
// A pod that is deleted goes on until nothing leads to it any more ([Follower]): service rules and
// a router of this node say how far they follow Endpoints, and other nodes are asked through
// the pod's status and answer in that of their Node, both in the condition api.HandOver.
//
// The agent decides with [Decide], which is pure, and carries out in steps that may be
// repeated. Containers keep running when the agent stops, and it adopts them when it
// starts again.
package runtime
