package reconciler_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler"
)

// counting counts renders by path.
type counting struct {
	reconciler.Renderer
	mu sync.Mutex
	n  map[string]int
}

func (c *counting) Render(ctx context.Context, r reconciler.Rendering) (api.Desired, error) {
	c.mu.Lock()
	c.n[r.Path]++
	c.mu.Unlock()
	return c.Renderer.Render(ctx, r)
}

func (c *counting) of(i int) int { c.mu.Lock(); defer c.mu.Unlock(); return c.n[appPath(i)] }

// TestACommitWakesWhomItConcerns: of 30 applications one is touched; the others are not even
// rendered, and still it is known of all that they are at the commit.
func TestACommitWakesWhomItConcerns(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 30, 3)
	renders := &counting{Renderer: f, n: map[string]int{}}
	f.r.Render = renders
	f.run()
	first := f.commit(0)
	f.allSettled(first)
	f.atRest(renders)
	before := make([]int, f.apps)
	for i := range before {
		before[i] = renders.of(i)
	}
	second := f.commit(2, 7)
	f.settled(7, second)
	for i := range f.apps {
		if got := renders.of(i); i != 7 && got != before[i] {
			t.Errorf("%s was rendered %d times for a commit that does not touch it", appName(i), got-before[i])
		}
		app := f.app(i)
		if i != 7 && app.Status.LastAppliedCommit != first {
			t.Errorf("%s follows %s", app.Name, app.Status.LastAppliedCommit)
		}
		at, err := f.r.AtRevision(t.Context(), app, second)
		f.must(err)
		was, err := f.r.AtRevision(t.Context(), app, first)
		f.must(err)
		if !at || was != (i != 7) {
			t.Errorf("%s is at the second commit: %v, at the first: %v", app.Name, at, was)
		}
	}
	// A file that everything depends on wakes everybody.
	f.mu.Lock()
	f.touched[f.commits+1] = []string{"lib/x.libsonnet"}
	f.mu.Unlock()
	third := f.commit(0)
	f.allSettled(third)
}

// atRest waits until nothing is rendered any more.
func (f *fleet) atRest(c *counting) {
	f.Helper()
	total := func() (n int) {
		for i := range f.apps {
			n += c.of(i)
		}
		return n
	}
	for last, since := total(), time.Now(); time.Since(since) < 500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if now := total(); now != last {
			last, since = now, time.Now()
		}
	}
}

// TestTwoWritersDoNotFightForEver: a hand that never rests is told from one that slipped.
func TestTwoWritersDoNotFightForEver(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": config("a", "1")})
	w.applied("pp", "c1")
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			cm, err := w.config("pp", "a")
			if err == nil && cm.Data["v"] == "1" {
				i++
				cm.Data["v"] = fmt.Sprint("by hand ", i)
				_ = w.client.Update(ctx, cm)
			}
		}
	})
	w.eventually("the status says that it waits", func() error {
		if s := w.application("pp").Status; len(s.Drift) == 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	w.eventually("people are told", func() error {
		var events corev1.EventList
		if err := w.client.List(t.Context(), &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "DriftContested" {
				return nil
			}
		}
		return fmt.Errorf("not among %d events", len(events.Items))
	})
	stop()
	done.Wait()
	w.configIs("pp", "a", "1")
	w.eventually("nothing is said to differ", func() error {
		if s := w.application("pp").Status; len(s.Drift) > 0 {
			return fmt.Errorf("drift %v", s.Drift)
		}
		return nil
	})
}
