// Package loop is the one shape of every controller: a loop that is handed a key,
// reads the world, decides, and acts. It is level-triggered: an event only says
// which key to look at and never carries the change, so that a lost, repeated or
// reordered event does no harm, and a process may die at any line.
//
// A controller keeps its decision in a pure function over what it read, and its
// Reconcile thin: read, decide, carry out.
package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Key names what a Reconcile looks at; for most controllers an object.
type Key = types.NamespacedName

// Result says when to look again although nothing happened; zero: never.
type Result struct {
	After time.Duration
}

// Watch maps changes of one kind to the keys that they concern.
type Watch struct {
	// List is an empty list of the kind, e.g. &corev1.PodList{}.
	List client.ObjectList
	// Keys maps an object, changed or deleted, to keys; nil: the object's own key.
	Keys func(client.Object) []Key
	// Skip says that an event does not concern the controller; nil: every event does. It
	// may only save work: what it skips is seen at the next look.
	Skip func(watch.EventType, client.Object) bool
	// Observer, where set, is told all that the watch sees, before anything is woken by it.
	Observer Observer
}

// Observer follows a kind through a Watch, for a controller that keeps an index. Its methods are
// called one at a time and must not block.
type Observer interface {
	// Listed are all objects of the kind as of a resourceVersion, in place of what was seen before.
	Listed(objects []client.Object, resourceVersion string)
	// Saw is one event that came after what was listed.
	Saw(event watch.EventType, o client.Object)
	// Lost says that events may be missed from now on, until the next Listed.
	Lost()
}

// Controller is one loop.
type Controller struct {
	// Name appears in logs and metrics.
	Name string
	// Watches say what wakes it. At start every existing object wakes it once.
	Watches []Watch
	// Wake adds keys from outside of live state (a hook, a timer, Docker's events). Whoever sends
	// may close it.
	Wake <-chan Key
	// Workers is how many keys are looked at side by side; default 1. One key is never
	// looked at twice at the same time.
	Workers int
	// Reconcile converges one key. An error is logged and tried again with growing delays
	// from 5 ms to 30 s.
	Reconcile func(ctx context.Context, key Key) (Result, error)
}

// Run runs the controllers until ctx ends and every Reconcile has returned.
func Run(ctx context.Context, c client.WithWatch, log *slog.Logger, controllers ...Controller) {
	var wg sync.WaitGroup
	for _, ctl := range controllers {
		wg.Go(func() { ctl.run(ctx, c, log.With("controller", ctl.Name)) })
	}
	wg.Wait()
}

type queue = workqueue.TypedRateLimitingInterface[Key]

func (ctl Controller) run(ctx context.Context, c client.WithWatch, log *slog.Logger) {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[Key](5*time.Millisecond, 30*time.Second))
	var wg sync.WaitGroup
	for _, w := range ctl.Watches {
		wg.Go(func() { w.follow(ctx, c, q, log) })
	}
	if ctl.Wake != nil {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case k, open := <-ctl.Wake:
					if !open {
						return
					}
					q.Add(k)
				}
			}
		})
	}
	for range max(ctl.Workers, 1) {
		wg.Go(func() { ctl.work(ctx, q, log) })
	}
	<-ctx.Done()
	q.ShutDown()
	wg.Wait()
}

func (ctl Controller) work(ctx context.Context, q queue, log *slog.Logger) {
	for {
		key, stop := q.Get()
		if stop {
			return
		}
		res, err := ctl.once(ctx, key)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Warn("reconcile failed, will retry", "key", key.String(), "error", err)
			q.AddRateLimited(key)
		default:
			q.Forget(key)
			if res.After > 0 {
				q.AddAfter(key, res.After)
			}
		}
		q.Done(key)
	}
}

// once turns a panic into an error: one poisonous object must not end the process
// that keeps every other one running.
func (ctl Controller) once(ctx context.Context, key Key) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return ctl.Reconcile(ctx, key)
}

var errWatchEnded = errors.New("watch ended")

// follow lists, then watches from the list's revision, and begins again when the
// watch ends or its revision was compacted away. Between a broken watch and the new
// list an object may vanish unseen, so what was known before is added again.
func (w Watch) follow(ctx context.Context, c client.WithWatch, q queue, log *slog.Logger) {
	known := map[Key][]Key{}
	for ctx.Err() == nil {
		err := w.session(ctx, c, q, known)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errWatchEnded) {
			log.Warn("watch failed, will retry", "kind", fmt.Sprintf("%T", w.List), "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w Watch) session(ctx context.Context, c client.WithWatch, q queue, known map[Key][]Key) error {
	list := w.List.DeepCopyObject().(client.ObjectList)
	if err := c.List(ctx, list); err != nil {
		return err
	}
	for own, keys := range known {
		add(q, keys)
		delete(known, own)
	}
	var objects []client.Object
	if err := eachItem(list, func(o client.Object) { objects = append(objects, o) }); err != nil {
		return err
	}
	if w.Observer != nil {
		w.Observer.Listed(objects, list.GetResourceVersion())
		defer w.Observer.Lost()
	}
	for _, o := range objects {
		w.wake(o, q, known)
	}
	objects = nil
	events, err := c.Watch(ctx, w.List.DeepCopyObject().(client.ObjectList), &client.ListOptions{Raw: watchFrom(list.GetResourceVersion())})
	if err != nil {
		return err
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-events.ResultChan():
			if !ok || ev.Type == watch.Error {
				return errWatchEnded
			}
			o, isObject := ev.Object.(client.Object)
			if ev.Type == watch.Bookmark || !isObject {
				continue
			}
			if w.Observer != nil {
				w.Observer.Saw(ev.Type, o)
			}
			if w.Skip == nil || !w.Skip(ev.Type, o) {
				w.wake(o, q, known)
			}
			if ev.Type == watch.Deleted {
				delete(known, client.ObjectKeyFromObject(o))
			}
		}
	}
}

func (w Watch) wake(o client.Object, q queue, known map[Key][]Key) {
	own := client.ObjectKeyFromObject(o)
	keys := []Key{own}
	if w.Keys != nil {
		keys = w.Keys(o)
		// Where the object no longer points to a key that it pointed to, that key is
		// concerned too.
		add(q, known[own])
	}
	known[own] = keys
	add(q, keys)
}

func add(q queue, keys []Key) {
	for _, k := range keys {
		q.Add(k)
	}
}
