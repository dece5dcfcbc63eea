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
// generation, the field managers, validation, sealing (Secrets, AES-256-GCM), the transaction. A
// transaction that lost a race is run again from the top on what won it, unless the caller
// named the resourceVersion that it had seen: then the caller gets a Conflict.
//
// Etcd runs inside the process, listens nowhere and syncs every write to disk, unless Options
// name an existing cluster.
package state
