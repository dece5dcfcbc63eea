package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
}

func key(name string) loop.Key { return loop.Key{Namespace: "a", Name: name} }

// seen counts reconciles by key.
type seen struct {
	mu sync.Mutex
	n  map[loop.Key]int
}

func (s *seen) add(k loop.Key) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[loop.Key]int{}
	}
	s.n[k]++
	return s.n[k]
}

func (s *seen) count(k loop.Key) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[k]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// start runs controllers until the test ends and checks that they then do end.
func start(t *testing.T, c client.WithWatch, ctls ...loop.Controller) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		loop.Run(ctx, c, slog.New(slog.DiscardHandler), ctls...)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Error("the controllers did not end")
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWakesAtStartOnChangeAndOnDelete(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	must(t, c.Create(ctx, configMap("old")))
	var s seen
	start(t, c, loop.Controller{Name: "t", Watches: []loop.Watch{{List: &corev1.ConfigMapList{}}},
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) { s.add(k); return loop.Result{}, nil }})
	eventually(t, "woken at start", func() bool { return s.count(key("old")) > 0 })
	cm := configMap("new")
	for i, change := range []func() error{
		func() error { return c.Create(ctx, cm) },
		func() error { cm.Data = map[string]string{"k": "v"}; return c.Update(ctx, cm) },
		func() error { return c.Delete(ctx, cm) },
	} {
		before := s.count(key("new"))
		must(t, change())
		eventually(t, []string{"woken by create", "woken by update", "woken by delete"}[i], func() bool { return s.count(key("new")) > before })
	}
}

// A change of what an object points to concerns what it pointed to before as well.
func TestWakesWhatAnObjectPointedTo(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	var s seen
	start(t, c, loop.Controller{Name: "t", Watches: []loop.Watch{{List: &corev1.ConfigMapList{},
		Keys: func(o client.Object) []loop.Key {
			if to := o.GetLabels()["to"]; to != "" {
				return []loop.Key{key(to)}
			}
			return nil
		}}},
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) { s.add(k); return loop.Result{}, nil }})
	cm := configMap("x")
	cm.Labels = map[string]string{"to": "one"}
	must(t, c.Create(ctx, cm))
	eventually(t, "one", func() bool { return s.count(key("one")) > 0 })
	before := s.count(key("one"))
	cm.Labels["to"] = "two"
	must(t, c.Update(ctx, cm))
	eventually(t, "two, and one again", func() bool { return s.count(key("two")) > 0 && s.count(key("one")) > before })
	if s.count(key("x")) != 0 {
		t.Error("the object's own key was woken")
	}
}

func TestRetriesAndContainsPanics(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	must(t, c.Create(ctx, configMap("fails")))
	must(t, c.Create(ctx, configMap("panics")))
	must(t, c.Create(ctx, configMap("later")))
	var s seen
	start(t, c, loop.Controller{Name: "t", Watches: []loop.Watch{{List: &corev1.ConfigMapList{}}},
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) {
			n := s.add(k)
			switch {
			case k.Name == "fails" && n < 4:
				return loop.Result{}, errors.New("not yet")
			case k.Name == "panics" && n < 3:
				panic("poison")
			case k.Name == "later" && n < 3:
				return loop.Result{After: time.Millisecond}, nil
			}
			return loop.Result{}, nil
		}})
	for name, n := range map[string]int{"fails": 4, "panics": 3, "later": 3} {
		eventually(t, name, func() bool { return s.count(key(name)) >= n })
	}
}

func TestOneKeyAtATimeAndManyWorkers(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	wake := make(chan loop.Key)
	var mu sync.Mutex
	busy, most := map[loop.Key]int{}, 0
	var s seen
	start(t, c, loop.Controller{Name: "t", Wake: wake, Workers: 4,
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) {
			mu.Lock()
			busy[k]++
			if busy[k] > 1 {
				t.Errorf("%s is looked at twice at the same time", k)
			}
			most = max(most, len(busy))
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			delete(busy, k)
			mu.Unlock()
			s.add(k)
			return loop.Result{}, nil
		}})
	for range 50 {
		for _, n := range []string{"x", "y", "z"} {
			wake <- key(n)
		}
	}
	eventually(t, "all are looked at", func() bool { return s.count(key("x")) > 0 && s.count(key("y")) > 0 && s.count(key("z")) > 0 })
	mu.Lock()
	defer mu.Unlock()
	if most < 2 {
		t.Error("the workers do not work side by side")
	}
}

func TestWakeMayBeClosed(t *testing.T) {
	t.Parallel()
	wake := make(chan loop.Key, 1)
	wake <- key("x")
	close(wake)
	var s seen
	start(t, statetest.New(t), loop.Controller{Name: "t", Wake: wake,
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) {
			s.add(k)
			return loop.Result{After: 10 * time.Millisecond}, nil
		}})
	eventually(t, "woken, and again", func() bool { return s.count(key("x")) > 5 })
	if s.count(loop.Key{}) != 0 {
		t.Error("the closing woke the empty key")
	}
}

// flaky is a client whose watches can be broken, and whose lists and watches can be made to fail.
type flaky struct {
	client.WithWatch
	mu      sync.Mutex
	watches []*broken
	fail    error
}

type broken struct {
	watch.Interface
	out  chan watch.Event
	stop chan struct{}
	once sync.Once
}

func (b *broken) ResultChan() <-chan watch.Event { return b.out }

func (b *broken) Stop() { b.once.Do(func() { close(b.stop) }); b.Interface.Stop() }

func (f *flaky) err() error { f.mu.Lock(); defer f.mu.Unlock(); return f.fail }

func (f *flaky) List(ctx context.Context, l client.ObjectList, o ...client.ListOption) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.WithWatch.List(ctx, l, o...)
}

func (f *flaky) Watch(ctx context.Context, l client.ObjectList, o ...client.ListOption) (watch.Interface, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	w, err := f.WithWatch.Watch(ctx, l, o...)
	if err != nil {
		return nil, err
	}
	b := &broken{Interface: w, out: make(chan watch.Event), stop: make(chan struct{})}
	f.mu.Lock()
	f.watches = append(f.watches, b)
	f.mu.Unlock()
	go func() {
		defer close(b.out)
		for {
			select {
			case <-b.stop:
				return
			case ev, ok := <-w.ResultChan():
				if !ok {
					return
				}
				select {
				case b.out <- ev:
				case <-b.stop:
					return
				}
			}
		}
	}()
	return b, nil
}

// cut ends every watch and lets none begin until it is mended.
func (f *flaky) cut(err error) {
	f.mu.Lock()
	f.fail = err
	watches := f.watches
	f.watches = nil
	f.mu.Unlock()
	for _, w := range watches {
		w.Stop()
	}
}

func (f *flaky) watching() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.watches) > 0 }

// What happened while the watch was broken is seen afterwards, the end of an object included.
func TestSeesWhatABrokenWatchMissed(t *testing.T) {
	t.Parallel()
	c, ctx := &flaky{WithWatch: statetest.New(t)}, t.Context()
	must(t, c.Create(ctx, configMap("stays")))
	must(t, c.Create(ctx, configMap("goes")))
	var s seen
	start(t, c, loop.Controller{Name: "t", Watches: []loop.Watch{{List: &corev1.ConfigMapList{}}},
		Reconcile: func(_ context.Context, k loop.Key) (loop.Result, error) { s.add(k); return loop.Result{}, nil }})
	eventually(t, "woken at start", func() bool { return s.count(key("stays")) > 0 && s.count(key("goes")) > 0 && c.watching() })
	for _, err := range []error{errors.New("etcd is away"), apierrors.NewResourceExpired("compacted")} {
		c.cut(err)
		before := s.count(key("goes"))
		err := c.Delete(ctx, configMap("goes"))
		must(t, client.IgnoreNotFound(err))
		must(t, c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", GenerateName: "comes-"}}))
		c.mu.Lock()
		c.fail = nil
		c.mu.Unlock()
		if err == nil {
			eventually(t, "woken by an end that nobody saw", func() bool { return s.count(key("goes")) > before })
		}
		var l corev1.ConfigMapList
		must(t, c.List(ctx, &l))
		for _, cm := range l.Items {
			eventually(t, "woken for "+cm.Name, func() bool { return s.count(client.ObjectKeyFromObject(&cm)) > 0 })
		}
		eventually(t, "it watches again", c.watching)
	}
}
