// Package node wires the parts of a host that joined into one process: the agent, the network,
// and the way to the servers. It decides nothing, keeps no images and has no router.
package node
