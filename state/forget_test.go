package state

import (
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What is kept decoded is what came lately, whether or not older changes are still kept.
func TestHubForgetsWhatItDecoded(t *testing.T) {
	t.Parallel()
	h, now := &hub{}, time.Now()
	for i := range 2 * hubChanges {
		h.add(clientv3.WatchResponse{Events: []*clientv3.Event{{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: int64(i + 1)}}}})
		e := h.changes[len(h.changes)-1]
		e.came = now.Add(time.Duration(i) * time.Millisecond)
		e.decoded.Store(&[]decoded{{}})
	}
	for _, at := range []int{100, hubChanges + 100, hubChanges + 300} {
		h.forget(now.Add(time.Duration(at) * time.Millisecond))
		for _, e := range h.changes {
			if lately := e.Kv.ModRevision-1 > int64(at); lately != (e.decoded.Load() != nil) {
				t.Fatalf("forgetting what came before %d: change %d is decoded: %v", at, e.Kv.ModRevision-1, e.decoded.Load() != nil)
			}
		}
	}
}
