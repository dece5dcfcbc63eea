// Package state is live state: every object, as JSON, in etcd, behind controller-runtime's
// client.WithWatch, so that controllers, fluxcd/pkg/ssa, kstatus and client-go informers work on it
// as they do on a Kubernetes API server.
//
// # The data model
//
// One etcd key holds one object (see key.go). An object's resourceVersion is the revision of etcd
// that last wrote it, a list's is the revision it was read at; every write is a transaction that
// compares that revision. Writing what is already there writes nothing and keeps the
// resourceVersion, so that converged controllers are silent.
//
// What a write goes through, in this order: what the server alone decides is put back (uid, times,
// status on a write of the object, everything else on a write of its status), defaults, the
// generation, the field managers, the admission of what is new, validation, sealing (Secrets, AES-256-GCM), the transaction. A
// transaction that lost a race is run again from the top on what won it, unless the caller
// named the resourceVersion that it had seen: then the caller gets a Conflict.
//
// ApplyMany does the same for many objects at once (applymany.go), with a shortcut for those that are new or
// unchanged (shortcut.go). The objects of one of its transactions share a resourceVersion. Prepare works out
// the same and Commit carries it out (prepare.go), so that a plan is not worked out again when it is applied.
//
// # Watches
//
// All watches of a kind share one watch of etcd (hub.go), and each gets copies of its own.
//
// # Leaders
//
// What is written with the context that Lead gives is refused once the leadership is over (fence.go).
//
// # Sealing and backups
//
// Sealed values open with any key of the key file and are written with the first (seal.go). RotateKey
// replaces the key (rotate.go); Backup and Restore carry all of it elsewhere (backup.go, restore.go).
//
// Etcd runs inside the process, listens nowhere and syncs every write to disk, unless Options
// name an existing cluster.
package state
