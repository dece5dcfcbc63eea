package state

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaseShare is how long one lease is given to new events: a lease of its own for every event would
// cost etcd more than the event.
const leaseShare = 5 * time.Minute

// expiry hands out etcd leases, so that etcd itself removes what nobody will want any more.
type expiry struct {
	kv  *clientv3.Client
	ttl time.Duration
	now func() time.Time

	mu    sync.Mutex // guards lease and until
	lease clientv3.LeaseID
	until time.Time
}

// next is a lease that lasts at least the TTL from now.
func (e *expiry) next(ctx context.Context) (clientv3.LeaseID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now(); !now.Before(e.until) {
		share := min(leaseShare, e.ttl)
		grant, err := e.kv.Grant(ctx, int64((e.ttl+share+time.Second-1)/time.Second))
		if err != nil {
			return 0, err
		}
		e.lease, e.until = grant.ID, now.Add(share)
	}
	return e.lease, nil
}
