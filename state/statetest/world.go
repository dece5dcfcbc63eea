package statetest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually looks until it is so; only a test that fails takes long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// Run runs controllers, as a process of their own would, until stop is called or the test ends.
func Run(t testing.TB, c client.WithWatch, controllers ...loop.Controller) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, c, log, controllers...) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// Silent tells nobody of events.
type Silent struct{}

// Event does nothing.
func (Silent) Event(client.Object, string, string, string, ...any) {}

// Clock is a time that a test moves.
type Clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

// NewClock is a clock that stands.
func NewClock(at time.Time) *Clock { return &Clock{at: at} }

// Now is the clock's time.
func (c *Clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

// Move puts it forward.
func (c *Clock) Move(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }
