// Package nodeapi is what nodes see of live state: a Kubernetes-style API over mutual TLS, for
// package remote on the other side. Nodes never speak to etcd.
//
// Everything is refused that is not allowed in rules.go. A node reads the pods that are bound to it,
// and the Secrets, ConfigMaps, claims and volumes that those name. Of other nodes' pods it sees
// where they are, what they are labelled and which ports they have, because rules and names are made
// from that; Services, Endpoints, Projects, Nodes and the network's kinds it sees whole. It
// writes the status of its own Node and of its own pods, Events about those, and
// takes away its own pods when they were asked to go. It pulls the images that its pods name.
//
// # How a node is known
//
// A Secret node-token-ID of project slipway holds the hash of a token and when it ends; a Secret
// node-NAME the hashes of the keys of a node's last two certificates. A certificate is good while its
// key is one of them: taking the Secret away shuts the node out at once. A name is given once:
// whoever asks for it again has to show the certificate it had, next to the token.
package nodeapi
