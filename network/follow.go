package network

import (
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// followed is how far the rules in the kernel follow Endpoints. It has a lock of its own, so
// that whoever asks does not wait for what is being done.
type followed struct {
	mu sync.Mutex
	of map[types.NamespacedName]uint64 // resourceVersions of Endpoints; guarded by mu
}

// set notes that the kernel has what the Endpoints say; nil: there are none.
func (f *followed) set(service types.NamespacedName, e *corev1.Endpoints) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, service)
	if e == nil {
		return
	}
	if revision, err := strconv.ParseUint(e.ResourceVersion, 10, 64); err == nil {
		if f.of == nil {
			f.of = map[types.NamespacedName]uint64{}
		}
		f.of[service] = revision
	}
}

// Follows says whether the kernel's rules lead where the service's Endpoints led at the
// revision, or at a later one. It waits for nothing.
func (d *Driver) Follows(service types.NamespacedName, revision uint64) bool {
	d.followed.mu.Lock()
	defer d.followed.mu.Unlock()
	have, ok := d.followed.of[service]
	return ok && have >= revision
}
