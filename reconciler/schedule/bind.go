package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// binding is a decision that is to be written.
type binding struct {
	pending *pending
	pod     *corev1.Pod
	node    string
	why     string
	// failed is why nothing was decided.
	failed error
}

// bound is the pod as it is to be.
func (b *binding) bound() *corev1.Pod {
	pod := *b.pod
	pod.Spec.NodeName = b.node
	return &pod
}

// carryOut writes bindings, each on the condition that the pod is as it was when it was decided about, and
// says why the last pod fits nowhere, where that is so.
func (s *scheduler) carryOut(ctx context.Context, batch []*binding) error {
	last := batch[len(batch)-1]
	if last.node == "" {
		batch = batch[:len(batch)-1]
	}
	failed := s.bind(ctx, batch)
	if last.node != "" || last.failed != nil {
		return errors.Join(failed, last.failed)
	}
	err := s.refuse(ctx, last.pod, last.why)
	if apierrors.IsConflict(err) {
		s.overtaken(last)
		err = nil
	}
	return errors.Join(failed, err)
}

func (s *scheduler) bind(ctx context.Context, batch []*binding) error {
	if len(batch) == 0 {
		return nil
	}
	pods := make([]*corev1.Pod, len(batch))
	for i, b := range batch {
		pods[i] = b.bound()
	}
	var failed, unknown []error
	var open []*binding
	for i, err := range s.Client.Bind(ctx, pods) {
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			failed = append(failed, s.settle(batch[i], pods[i], err))
			continue
		}
		open, unknown = append(open, batch[i]), append(unknown, err)
	}
	for i, b := range open {
		pod, err := s.insist(ctx, b, unknown[i])
		failed = append(failed, s.settle(b, pod, err))
	}
	return errors.Join(failed...)
}

// overtaken brings a pod back that has changed since it was refused: what it was to be told is not written.
func (s *scheduler) overtaken(b *binding) {
	q := s.world.queue
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	switch p := q.all[b.pod.UID]; {
	case p != b.pending:
	case version(p.pod.ResourceVersion) > version(b.pod.ResourceVersion):
		q.ready(p)
	default:
		// The event of what came in between is on its way.
		p.stale = true
	}
}

// The pauses between tries of a write of which it is not known whether it took place.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 5 * time.Second
)

// insist tries again to write a binding of which it is not known whether it was written. As long as that
// is so, the pod stays booked: its room must not be given to another.
func (s *scheduler) insist(ctx context.Context, b *binding, err error) (*corev1.Pod, error) {
	pod := b.bound()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) {
			return pod, err
		}
		if ctx.Err() != nil {
			return pod, ctx.Err()
		}
		s.Log.Warn("a binding is not written, will retry", "pod", keyOf(b.pod).String(), "node", b.node, "error", err)
		select {
		case <-ctx.Done():
			return pod, ctx.Err()
		case <-time.After(pause):
		}
		pod = b.bound()
		switch err = s.Client.Bind(ctx, []*corev1.Pod{pod})[0]; {
		case err == nil, apierrors.IsNotFound(err):
			return pod, err
		case !apierrors.IsConflict(err):
			continue
		}
		// It may have been ourselves, in a try that seemed to fail.
		var now corev1.Pod
		switch got := s.Client.Get(ctx, keyOf(b.pod), &now); {
		case got == nil && now.UID == b.pod.UID && now.Spec.NodeName == b.node:
			return &now, nil
		case got == nil, apierrors.IsNotFound(got):
			return pod, err
		}
	}
}

// settle takes note of what became of a binding.
func (s *scheduler) settle(b *binding, pod *corev1.Pod, err error) error {
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
