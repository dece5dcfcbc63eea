package project

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// owned remembers which objects name which owner, so that the end of an owner leads to
// them without a search. It is filled by the very watches that wake the collector, and
// may be behind the times: objects are read before anything is concluded about them.
type owned struct {
	mu sync.Mutex
	// by owner, then by what it owns: the UID that is named; guarded by mu
	by map[loop.Key]map[loop.Key]types.UID
	// owners of what is in by; guarded by mu
	owners map[loop.Key][]loop.Key
}

func newOwned() *owned {
	return &owned{by: map[loop.Key]map[loop.Key]types.UID{}, owners: map[loop.Key][]loop.Key{}}
}

// keys notes an object's owners. Worth a look are an object that has owners, and one that
// is an owner; most are neither.
func (o *owned) keys(k api.Kind) func(client.Object) []loop.Key {
	return func(obj client.Object) []loop.Key {
		own := keyOf(k, obj.GetNamespace(), obj.GetName())
		owners := ownersOf(obj)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.drop(own)
		for _, owner := range owners {
			if !owner.known {
				continue
			}
			if o.by[owner.key] == nil {
				o.by[owner.key] = map[loop.Key]types.UID{}
			}
			o.by[owner.key][own] = owner.uid
			o.owners[own] = append(o.owners[own], owner.key)
		}
		if len(owners) == 0 && len(o.by[own]) == 0 {
			return nil
		}
		return []loop.Key{own}
	}
}

// strangers are the objects that name an owner by this key, but another one than that
// with the UID.
func (o *owned) strangers(owner loop.Key, uid types.UID) []loop.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	var keys []loop.Key
	for k, named := range o.by[owner] {
		if named != uid {
			keys = append(keys, k)
		}
	}
	return keys
}

// forget drops an object that is gone.
func (o *owned) forget(own loop.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(own)
}

// drop is called with mu held.
func (o *owned) drop(own loop.Key) {
	for _, owner := range o.owners[own] {
		delete(o.by[owner], own)
		if len(o.by[owner]) == 0 {
			delete(o.by, owner)
		}
	}
	delete(o.owners, own)
}
