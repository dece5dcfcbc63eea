package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// shaky is live state over a bad line: some writes are refused, and of others it is not known whether
// they took place.
type shaky struct {
	live
	mu sync.Mutex
	r  *rand.Rand
}

var errLine = errors.New("the line is bad")

func (s *shaky) Bind(ctx context.Context, pods []*corev1.Pod) []error {
	s.mu.Lock()
	luck := s.r.IntN(5)
	s.mu.Unlock()
	errs := make([]error, len(pods))
	written := len(pods)
	switch luck {
	case 0:
		written = 0
	case 1:
		written /= 2
	}
	copy(errs, s.live.Bind(ctx, pods[:written]))
	for i := range errs {
		if i >= written || luck == 2 {
			errs[i] = errLine
		}
	}
	return errs
}

// TestKilledSchedulersLoseAndDoubleNothing ends the scheduler again and again, while writes fail, pods
// come and go, and there is room for a part of them only: no node ever has more than it has room for,
// and what fits is bound in the end.
func TestKilledSchedulersLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	const nodes, room, pods = 3, 5, 40
	for i := range nodes {
		readyNode(t, c, fmt.Sprintf("n%d", i), fmt.Sprint(room))
	}
	line := &shaky{live: c, r: rand.New(rand.NewPCG(1, 2))}
	counted := func() (total int) {
		var list corev1.PodList
		statetest.Must(t, c.List(ctx, &list))
		on := map[string]int{}
		for _, p := range list.Items {
			if p.Spec.NodeName != "" {
				on[p.Spec.NodeName]++
				total++
			}
		}
		for name, n := range on {
			if n > room {
				t.Fatalf("%s has %d pods, and room for %d", name, n, room)
			}
		}
		return total
	}
	next := 0
	lives := func(d time.Duration) {
		run, stop := context.WithTimeout(ctx, d)
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() {
			loop.Run(run, line, slog.New(slog.DiscardHandler), schedule.Controllers(schedule.Deps{Client: line, Events: statetest.Silent{}, Retry: time.Hour})...)
		})
		for range 4 {
			if next < pods {
				statetest.Must(t, c.Create(ctx, pod(fmt.Sprintf("p%d", next))))
				next++
			}
			counted()
		}
		wg.Wait()
	}
	for i := range 10 {
		lives(time.Duration(i*7) * time.Millisecond)
	}
	run(t, c, statetest.Silent{})
	statetest.Eventually(t, "all that there is room for is bound", func() bool { return counted() == nodes*room })
	var list corev1.PodList
	statetest.Must(t, c.List(ctx, &list))
	var none int64
	for i := range list.Items {
		if list.Items[i].Spec.NodeName == "n0" {
			statetest.Must(t, c.Delete(ctx, &list.Items[i], &client.DeleteOptions{GracePeriodSeconds: &none}))
		}
	}
	statetest.Eventually(t, "others take the room that is left", func() bool { return counted() == nodes*room })
}
