// Package nodecert is who servers and nodes are to each other: the certificates of the node API.
//
// One certificate authority is the root of all trust, and serves nothing else. Servers prove
// themselves by a certificate that names ServerName, whatever address they are reached at; nodes by
// one whose subject is O=system:nodes, CN=system:node:NAME, as those of Kubernetes' nodes are. Both
// kinds cannot stand for each other.
//
// A node that joins knows nothing of the authority but the hash of its public key, which the token
// carries, and trusts nothing else.
package nodecert
