package autoscale

import (
	"context"
	"log/slog"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Metrics tells what pods use now. A pod that it does not name was not measured.
type Metrics interface {
	PodMetrics(ctx context.Context) ([]api.PodMetrics, error)
}

// Deps is what the controller needs.
type Deps struct {
	Client  client.Client
	Events  Recorder
	Metrics Metrics
	Log     *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Period between two looks; default 15 seconds.
	Period time.Duration
}

// Controllers is the controller of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Period == 0 {
		d.Period = period
	}
	c := &autoscalers{Deps: d, known: map[loop.Key]*memory{}}
	return []loop.Controller{{
		Name:      "horizontalpodautoscaler",
		Watches:   []loop.Watch{{List: &autoscalingv2.HorizontalPodAutoscalerList{}}},
		Workers:   4,
		Reconcile: c.reconcile,
	}}
}

// memory is what is remembered of one autoscaler. One key is never looked at twice at once.
type memory struct {
	looked               time.Time
	generation           int64
	recommended, changes []Step
}

type autoscalers struct {
	Deps
	mu sync.Mutex
	// known autoscalers; guarded by mu
	known map[loop.Key]*memory
}

func (c *autoscalers) memory(key loop.Key) *memory {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[key] == nil {
		c.known[key] = &memory{}
	}
	return c.known[key]
}

func (c *autoscalers) forget(key loop.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, key)
}

// reconcile looks at an autoscaler once in a period, however often it is woken.
func (c *autoscalers) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var h autoscalingv2.HorizontalPodAutoscaler
	if err := c.Client.Get(ctx, key, &h); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(key)
		}
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if h.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	m, now := c.memory(key), c.Clock()
	if left := m.looked.Add(c.Period).Sub(now); left > 0 && m.generation == h.Generation {
		return loop.Result{After: left}, nil
	}
	m.looked, m.generation = now, h.Generation
	err := c.look(ctx, &h, m, now)
	if apierrors.IsConflict(err) {
		err = nil
	}
	if err != nil {
		// What cannot be measured now may be at the next look: no sooner.
		c.Log.Warn("autoscaler", "object", key.String(), "error", err)
	}
	return loop.Result{After: c.Period}, nil
}

// prune forgets what no window reaches any more.
func (m *memory) prune(now time.Time) {
	for _, list := range []*[]Step{&m.recommended, &m.changes} {
		kept := (*list)[:0]
		for _, s := range *list {
			if s.At.After(now.Add(-time.Hour)) {
				kept = append(kept, s)
			}
		}
		*list = kept
	}
}

func (c *autoscalers) warn(h *autoscalingv2.HorizontalPodAutoscaler, reason string, err error) {
	c.Events.Event(h, corev1.EventTypeWarning, reason, "%v", err)
}
