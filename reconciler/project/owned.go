package project

import (
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// owned remembers which objects name which owner, so that the end of an owner leads to
// them without a search. It is filled by the very watches that wake the collector, and
// may name objects that are gone: they are read before anything is concluded.
type owned struct {
	mu sync.Mutex
	// by owner, then by what it owns; guarded by mu
	by map[loop.Key]map[loop.Key]bool
}

func newOwned() *owned { return &owned{by: map[loop.Key]map[loop.Key]bool{}} }

// keys notes an object's owners. Worth a look are an object that has owners, and one that
// is an owner; most are neither.
func (o *owned) keys(k api.Kind) func(client.Object) []loop.Key {
	return func(obj client.Object) []loop.Key {
		own := keyOf(k, obj.GetNamespace(), obj.GetName())
		owners, _ := ownerKeys(obj.GetNamespace(), obj.GetOwnerReferences())
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, owner := range owners {
			if o.by[owner] == nil {
				o.by[owner] = map[loop.Key]bool{}
			}
			o.by[owner][own] = true
		}
		if len(owners) == 0 && len(o.by[own]) == 0 {
			return nil
		}
		return []loop.Key{own}
	}
}

func (o *owned) of(owner loop.Key) []loop.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := make([]loop.Key, 0, len(o.by[owner]))
	for k := range o.by[owner] {
		keys = append(keys, k)
	}
	return keys
}

func (o *owned) forget(owner loop.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.by, owner)
}
