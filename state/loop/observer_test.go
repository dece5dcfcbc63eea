package loop_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// names is an Observer that keeps the names of what exists.
type names struct {
	mu    sync.Mutex
	known map[string]bool
	lost  int
}

func (n *names) Listed(objects []client.Object, revision string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = map[string]bool{}
	for _, o := range objects {
		n.known[o.GetName()] = true
	}
}

func (n *names) Saw(event watch.EventType, o client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[o.GetName()] = true
	if event == watch.Deleted {
		delete(n.known, o.GetName())
	}
}

func (n *names) Lost() { n.mu.Lock(); defer n.mu.Unlock(); n.lost++ }

func (n *names) are(want ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Equal(slices.Sorted(maps.Keys(n.known)), want)
}

// An index that an Observer keeps holds what exists, also after a watch that broke.
func TestAnObserverSeesAll(t *testing.T) {
	t.Parallel()
	c, ctx := &flaky{WithWatch: statetest.New(t)}, t.Context()
	must(t, c.Create(ctx, configMap("a")))
	must(t, c.Create(ctx, configMap("b")))
	n := &names{}
	start(t, c, loop.Controller{Name: "t", Watches: []loop.Watch{{
		List: &corev1.ConfigMapList{}, Observer: n, Skip: func(watch.EventType, client.Object) bool { return true },
	}}, Reconcile: func(context.Context, loop.Key) (loop.Result, error) { return loop.Result{}, nil }})
	eventually(t, "what was there is listed", func() bool { return n.are("a", "b") && c.watching() })
	must(t, c.Create(ctx, configMap("c")))
	must(t, c.Delete(ctx, configMap("a")))
	eventually(t, "events are seen, the skipped ones too", func() bool { return n.are("b", "c") })
	c.cut(errors.New("etcd is away"))
	eventually(t, "the loss is said", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.lost == 1 })
	must(t, c.Delete(ctx, configMap("b")))
	c.mu.Lock()
	c.fail = nil
	c.mu.Unlock()
	eventually(t, "an end that nobody saw is known", func() bool { return n.are("c") })
}
