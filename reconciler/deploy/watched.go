package deploy

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// glance is how long a rollout that waits goes without being looked at, at most.
	glance = 30 * time.Second
	// lapse is how long nobody can have looked at a rollout without that being noticed.
	lapse = 2 * time.Minute
)

// watched knows since when this process has been looking at each rollout without a lapse.
// A rollout gets no further while no server runs, or live state is away: that time does not
// count against it.
type watched struct {
	mu sync.Mutex
	of map[types.UID]span // guarded by mu; by the version's UID
}

type span struct{ since, last time.Time }

// look notes a look at a rollout.
func (w *watched) look(rollout types.UID, now time.Time) (since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, known := w.of[rollout]
	if !known || now.Sub(s.last) > lapse {
		s.since = now
	}
	s.last = now
	if w.of == nil {
		w.of = map[types.UID]span{}
	}
	w.of[rollout] = s
	return s.since
}

// forget lets go of rollouts that nobody has looked at for long: they are over, or gone.
func (w *watched) forget(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rollout, s := range w.of {
		if now.Sub(s.last) > lapse {
			delete(w.of, rollout)
		}
	}
}
