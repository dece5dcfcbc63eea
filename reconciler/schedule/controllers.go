package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Client is live state.
type Client interface {
	client.Client
	// Bind writes pods that were given their nodes, each on the condition that it is as it was read, and
	// answers for each in the same order: a Conflict where it is not, NotFound where it is gone.
	Bind(ctx context.Context, pods []*corev1.Pod) []error
}

// Deps is what the controller needs.
type Deps struct {
	Client Client
	Events Recorder
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Retry is when a pod that fits nowhere is looked at again although nothing seems to
	// have changed; default 1 minute.
	Retry time.Duration
	// Writers is how many batches of bindings are written side by side; default 16. Decisions are made
	// one after the other.
	Writers int
}

// Controllers is the one controller of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Retry == 0 {
		d.Retry = time.Minute
	}
	if d.Writers == 0 {
		d.Writers = 16
	}
	s := &scheduler{Deps: d, world: newWorld()}
	for i := range d.Writers {
		s.writers = append(s.writers, loop.Key{Name: "writer-" + strconv.Itoa(i)})
	}
	c := loop.Controller{Name: "schedule", Workers: d.Writers, Reconcile: s.reconcile}
	for _, f := range s.world.followers {
		c.Watches = append(c.Watches, loop.Watch{List: f.list, Observer: f, Keys: func(client.Object) []loop.Key { return s.due() }})
	}
	return []loop.Controller{c}
}

// scheduler takes pods out of the world's queue. Its keys are writers, not pods: whichever is woken
// takes the pod whose turn it is, so that the order is the queue's.
type scheduler struct {
	Deps
	world   *world
	writers []loop.Key

	// The world's mu guards what follows. revival is when pods that wait are next looked at.
	scratch scratch
	revival time.Time
}

// due are as many writers as there are pods to write.
func (s *scheduler) due() []loop.Key {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return s.writers[:min(len(s.writers), len(s.world.queue.heap))]
}

// Pauses: until all kinds are known, and after another writer was faster.
const unreadPause = 20 * time.Millisecond

func (s *scheduler) reconcile(ctx context.Context, _ loop.Key) (loop.Result, error) {
	for ctx.Err() == nil {
		batch, known := s.next()
		if !known {
			return loop.Result{After: unreadPause}, nil
		}
		if len(batch) == 0 {
			return loop.Result{After: s.revive()}, nil
		}
		if err := s.carryOut(ctx, batch); err != nil {
			return loop.Result{}, err
		}
	}
	return loop.Result{}, ctx.Err()
}

// revive brings back the pods that have waited long, and says when the caller shall look again; 0:
// another will.
func (s *scheduler) revive() time.Duration {
	now := s.Clock()
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(s.revival) && s.revival.Sub(now) <= s.Retry {
		return 0
	}
	s.revival = now.Add(s.Retry)
	if w.queue.revive(now, s.Retry); len(w.queue.heap) > 0 {
		s.revival = now
		return time.Millisecond
	}
	return s.Retry
}

// batchSize bounds the bindings of one write.
const batchSize = 64

// next decides about the pods whose turn it is, and books them: as many as one write takes, up to the first that
// fits nowhere. It says false as long as the world is not known.
func (s *scheduler) next() ([]*binding, bool) {
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.complete() {
		return nil, false
	}
	var batch []*binding
	for len(batch) < batchSize {
		p := w.queue.next()
		if p == nil {
			break
		}
		b := s.decide(p)
		if batch = append(batch, b); b.node == "" {
			break
		}
	}
	return batch, true
}

// decide decides about one pod. One that makes a decision panic must not take along those that were booked
// before it and are not written yet.
func (s *scheduler) decide(p *pending) (b *binding) {
	w := s.world
	// It waits from before it is decided about: a decision that fails does not lose it.
	w.queue.wait(p, whyAny, s.Clock())
	b = &binding{pending: p, pod: p.pod}
	defer func() {
		if r := recover(); r != nil {
			b.failed = fmt.Errorf("decide about pod %s: panic: %v\n%s", keyOf(p.pod), r, debug.Stack())
		}
	}()
	d, t := w.judge(p, &s.scratch)
	if b.why = d.why; d.host == nil {
		w.queue.wait(p, d.cause, s.Clock())
		return b
	}
	w.queue.unwait(p)
	w.book(t.self, d.host.name)
	b.node = d.host.name
	return b
}

// refuse says why a pod fits nowhere, if that is news. PodScheduled becomes True when
// the pod's node takes it over: from then on the status is the node's.
func (s *scheduler) refuse(ctx context.Context, seen *corev1.Pod, why string) error {
	want := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: why,
		LastTransitionTime: metav1.NewTime(s.Clock()),
	}
	kept := seen.Status.Conditions[:0:0]
	for _, c := range seen.Status.Conditions {
		switch {
		case c.Type != want.Type:
			kept = append(kept, c)
		case c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message:
			return nil
		case c.Status == want.Status:
			want.LastTransitionTime = c.LastTransitionTime
		}
	}
	pod := seen.DeepCopy()
	pod.Status.Conditions = append(kept, want)
	if pod.Status.Phase == "" {
		pod.Status.Phase = corev1.PodPending
	}
	s.Events.Event(pod, corev1.EventTypeWarning, "FailedScheduling", "%s", why)
	return client.IgnoreNotFound(s.Client.Status().Update(ctx, pod))
}
