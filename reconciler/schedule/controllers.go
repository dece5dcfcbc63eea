package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what the controller needs.
type Deps struct {
	Client client.Client
	Events Recorder
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Retry is when a pod that fits nowhere is looked at again although nothing seems to
	// have changed; default 1 minute.
	Retry time.Duration
	// Writers is how many bindings are written side by side; default 16. Decisions are made one
	// after the other.
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
		b, ok := s.next()
		if !ok {
			return loop.Result{After: unreadPause}, nil
		}
		if b == nil {
			return loop.Result{After: s.revive()}, nil
		}
		if err := s.carryOut(ctx, b); err != nil {
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

// binding is a decision that is to be written.
type binding struct {
	pending *pending
	pod     *corev1.Pod
	node    string
	why     string
}

// next decides about the pod whose turn it is, and books it; nil: there is none. It says false as
// long as the world is not known.
func (s *scheduler) next() (*binding, bool) {
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.complete() {
		return nil, false
	}
	p := w.queue.next()
	if p == nil {
		return nil, true
	}
	// It waits from before it is decided about: a decision that fails does not lose it.
	w.queue.wait(p, whyAny, s.Clock())
	d, t := w.judge(p, &s.scratch)
	b := &binding{pending: p, pod: p.pod, why: d.why}
	if d.host == nil {
		w.queue.wait(p, d.cause, s.Clock())
		return b, true
	}
	w.queue.unwait(p)
	b.node = d.host.name
	w.book(t.self, b.node)
	return b, true
}

// carryOut writes a binding, on the condition that the pod is as it was when it was decided about.
func (s *scheduler) carryOut(ctx context.Context, b *binding) error {
	if b.node == "" {
		err := s.refuse(ctx, b.pod, b.why)
		if apierrors.IsConflict(err) {
			return nil // The pod has changed, and its event brings it back where that matters.
		}
		return err
	}
	pod, err := s.write(ctx, b)
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.confirm(pod.UID, version(pod.ResourceVersion))
		s.Events.Event(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, b.node)
		return nil
	}
	w.unbook(b.pod.UID)
	switch p := w.queue.all[b.pod.UID]; {
	case apierrors.IsNotFound(err):
		w.queue.remove(b.pod.UID)
		return nil
	case p != b.pending:
		return nil
	case !apierrors.IsConflict(err):
		w.queue.wait(p, whyPod, s.Clock())
		return fmt.Errorf("pod %s: bind to node %s: %w", keyOf(b.pod), b.node, err)
	case version(p.pod.ResourceVersion) > version(b.pod.ResourceVersion):
		w.queue.ready(p)
	default:
		// The event of what came in between is on its way, and brings it back.
		p.stale = true
		w.queue.wait(p, whyPod, s.Clock())
	}
	return nil
}

// The pauses between tries of a write of which it is not known whether it took place.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 5 * time.Second
)

// write sets the pod's node. As long as it is not known whether that was written, the pod stays
// booked: its room must not be given to another.
func (s *scheduler) write(ctx context.Context, b *binding) (*corev1.Pod, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		pod := b.pod.DeepCopy()
		pod.Spec.NodeName = b.node
		err := s.Client.Update(ctx, pod)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsConflict(err) && pause == firstPause {
			return pod, err
		}
		if apierrors.IsConflict(err) {
			// It may have been ourselves, in a try that seemed to fail.
			var now corev1.Pod
			switch got := s.Client.Get(ctx, keyOf(b.pod), &now); {
			case got == nil && now.UID == b.pod.UID && now.Spec.NodeName == b.node:
				return &now, nil
			case got == nil, apierrors.IsNotFound(got):
				return pod, err
			}
		}
		s.Log.Warn("a binding is not written, will retry", "pod", keyOf(b.pod).String(), "node", b.node, "error", err)
		select {
		case <-ctx.Done():
			return pod, ctx.Err()
		case <-time.After(pause):
		}
	}
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
