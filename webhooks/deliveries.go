package webhooks

import "sync"

// maxDeliveries is how many delivery ids are remembered.
const maxDeliveries = 10000

// deliveries remembers the newest delivery ids, so that a call that is repeated,
// by its host or by somebody who recorded it, does nothing the second time.
type deliveries struct {
	// mu guards what follows: a set, and the ring of its members in order of arrival.
	mu   sync.Mutex
	set  map[string]bool
	ring []string
	next int
}

func newDeliveries(n int) *deliveries {
	return &deliveries{set: make(map[string]bool, n), ring: make([]string, n)}
}

// first says whether id was not seen yet, and remembers it. An empty id is always new.
func (d *deliveries) first(id string) bool {
	if id == "" {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set[id] {
		return false
	}
	delete(d.set, d.ring[d.next])
	d.ring[d.next], d.set[id] = id, true
	d.next = (d.next + 1) % len(d.ring)
	return true
}
