// Package remote is live state as a node sees it: through the node API of a server, over mutual TLS,
// with a mirror on the node that goes on answering while no server does.
//
// An Identity is who the node is, kept in a folder that only its owner may read: its name, its
// certificate and key, the authority that servers prove themselves by, and where they are. A Conn speaks to
// the first server that answers, goes on to the next when one does not, and renews the certificate.
// A Mirror is a client.WithWatch over it: reads are answered from what was last seen, which is kept on disk
// as well; writes go to the server.
//
// The mirror never takes silence for absence: it answers nothing before it has seen all there is of
// a kind, from a server or from disk, and forgets an object only when a server says that it is gone.
package remote
