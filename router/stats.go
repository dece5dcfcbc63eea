package router

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"
)

// RouteStats counts what went through one Route since the router started, or since the
// Route was admitted.
type RouteStats struct {
	Route types.NamespacedName
	Host  string
	Path  string
	// Requests that were answered, by the first digit of their status.
	Requests uint64
	Status   [6]uint64
	// Retries are attempts beyond the first of a request; Failures are requests that no
	// backend answered.
	Retries  uint64
	Failures uint64
	// Connections are those that were passed through.
	Connections uint64
}

type counters struct {
	status                         [6]atomic.Uint64
	retries, failures, connections atomic.Uint64
}

// stats are counters by route.
type stats struct {
	mu     sync.RWMutex
	routes map[types.NamespacedName]*counters // guarded by mu
}

func (s *stats) of(route types.NamespacedName) *counters {
	s.mu.RLock()
	c := s.routes[route]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routes == nil {
		s.routes = map[types.NamespacedName]*counters{}
	}
	if s.routes[route] == nil {
		s.routes[route] = &counters{}
	}
	return s.routes[route]
}

// keep forgets routes that are not in the table.
func (s *stats) keep(t *Table) {
	wanted := map[types.NamespacedName]bool{}
	for _, r := range t.Rules() {
		wanted[r.Route] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for route := range s.routes {
		if !wanted[route] {
			delete(s.routes, route)
		}
	}
}

// Stats lists the counters of every Route in the table, by project and name.
func (r *Router) Stats() []RouteStats {
	var all []RouteStats
	for _, rule := range r.Table().Rules() {
		c := r.stats.of(rule.Route)
		one := RouteStats{
			Route: rule.Route, Host: rule.Host, Path: rule.Path,
			Retries: c.retries.Load(), Failures: c.failures.Load(), Connections: c.connections.Load(),
		}
		for i := range c.status {
			one.Status[i] = c.status[i].Load()
			one.Requests += one.Status[i]
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b RouteStats) int { return strings.Compare(a.Route.String(), b.Route.String()) })
	return all
}
