package router

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// balancers remember, per route, whose turn it is. They outlive the tables, so that a
// change of endpoints does not begin every round anew.
type balancers struct {
	mu    sync.Mutex
	turns map[types.NamespacedName]*turns // guarded by mu
}

// turns is smooth weighted round robin: whoever has waited longest for its share.
type turns struct {
	mu     sync.Mutex
	credit map[netip.AddrPort]int // guarded by mu
}

func (b *balancers) of(route types.NamespacedName) *turns {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns == nil {
		b.turns = map[types.NamespacedName]*turns{}
	}
	t := b.turns[route]
	if t == nil {
		t = &turns{credit: map[netip.AddrPort]int{}}
		b.turns[route] = t
	}
	return t
}

// keep forgets routes that are not in the table.
func (b *balancers) keep(t *Table) {
	wanted := map[types.NamespacedName]bool{}
	for _, r := range t.Rules() {
		wanted[r.Route] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for route := range b.turns {
		if !wanted[route] {
			delete(b.turns, route)
		}
	}
}

// next gives the turn to one of the candidates.
func (t *turns) next(among []candidate) candidate {
	total, best := 0, 0
	for i, e := range among {
		total += e.Weight
		t.credit[e.Addr] += e.Weight
		if t.credit[e.Addr] > t.credit[among[best].Addr] {
			best = i
		}
	}
	t.credit[among[best].Addr] -= total
	if len(t.credit) > 2*len(among)+16 {
		for addr := range t.credit {
			if !slices.ContainsFunc(among, func(e candidate) bool { return e.Addr == addr }) {
				delete(t.credit, addr)
			}
		}
	}
	return among[best]
}

// choice is what a pick depends on besides the rule.
type choice struct {
	client netip.Addr
	// cookie is the id that the client's cookie holds, if any.
	cookie string
	// tried holds the addresses that failed for this request.
	tried []netip.AddrPort
	now   time.Time
}

// pick chooses an endpoint of the rule and counts its use; release ends it. It returns
// nil if there is nothing left to try, or if all have left since the rule was looked up. An ejected endpoint is chosen only when there is
// no other one.
func (s *scheduler) pick(r *Rule, c choice) *backend {
	t := s.balancers.of(r.Route)
	t.mu.Lock()
	defer t.mu.Unlock()
	var ready, ejected []candidate
	for _, e := range r.Endpoints {
		if slices.Contains(c.tried, e.Addr) {
			continue
		}
		b := s.pools.get(r, e.Addr)
		if b == nil {
			continue
		}
		out := b.ejected(c.now)
		if r.Cookie != "" && c.cookie == b.id && !out {
			b.inflight.Add(1)
			return b
		}
		switch {
		case e.Weight == 0:
		case out:
			ejected = append(ejected, candidate{e, b})
		default:
			ready = append(ready, candidate{e, b})
		}
	}
	if len(ready) == 0 {
		ready = ejected
	}
	if len(ready) == 0 {
		return nil
	}
	var chosen candidate
	switch r.Balance {
	case Source:
		chosen = bySource(ready, c.client)
	case LeastConn:
		chosen = t.next(leastBusy(ready))
	default:
		chosen = t.next(ready)
	}
	chosen.backend.inflight.Add(1)
	return chosen.backend
}

// pickAgain picks by the rule as it is at the moment: it may have changed since it was
// looked up, and while the pick was made.
func (s *scheduler) pickAgain(rule **Rule, again func(*Rule) *Rule, c choice) *backend {
	for {
		if r := again(*rule); r != nil {
			*rule = r
		}
		if b := s.pick(*rule, c); b != nil {
			return b
		}
		if r := again(*rule); r == nil || r == *rule {
			return nil
		}
	}
}

// candidate is an endpoint that a request may go to.
type candidate struct {
	Endpoint
	backend *backend
}

// scheduler chooses backends.
type scheduler struct {
	pools     *pools
	balancers balancers
}

// leastBusy are the endpoints with the least in flight for their weight.
func leastBusy(among []candidate) []candidate {
	least := among[:0:0]
	lowest := math.Inf(1)
	for _, e := range among {
		load := float64(e.backend.inflight.Load()) / float64(e.Weight)
		if load < lowest {
			lowest, least = load, least[:0]
		}
		if load == lowest {
			least = append(least, e)
		}
	}
	return least
}

// bySource is weighted rendezvous hashing: a client stays where it is unless its
// endpoint leaves, and only its own share moves then.
func bySource(among []candidate, client netip.Addr) candidate {
	best, highest := among[0], math.Inf(-1)
	for _, e := range among {
		h := fnv.New64a()
		h.Write(client.AsSlice())
		h.Write(e.Addr.Addr().AsSlice())
		h.Write(binary.BigEndian.AppendUint16(nil, e.Addr.Port()))
		// In (0, 1): the top 53 bits of the mixed sum, and a half.
		u := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
		if score := -float64(e.Weight) / math.Log(u); score > highest {
			best, highest = e, score
		}
	}
	return best
}

// mix is the finalizer of MurmurHash3: FNV alone leaves the high bits of similar
// addresses alike.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
