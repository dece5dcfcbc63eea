package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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
}

// Controllers is the one controller of this package. It looks at one pod after the
// other, so that each decision sees the one before.
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
	s := &scheduler{Deps: d, waiting: map[loop.Key]bool{}}
	return []loop.Controller{{
		Name: "schedule",
		Watches: []loop.Watch{
			{List: &corev1.PodList{}, Keys: s.concerns},
			{List: &corev1.NodeList{}, Keys: func(client.Object) []loop.Key { return s.all() }},
		},
		Workers:   1,
		Reconcile: s.reconcile,
	}}
}

type scheduler struct {
	Deps
	mu sync.Mutex
	// waiting are the pods that fit nowhere; guarded by mu
	waiting map[loop.Key]bool
}

// concerns: a pod without a node itself; one that lets go of its node, all that wait.
func (s *scheduler) concerns(o client.Object) []loop.Key {
	pod, ok := o.(*corev1.Pod)
	switch {
	case !ok:
		return nil
	case pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil:
		return []loop.Key{client.ObjectKeyFromObject(pod)}
	case pod.DeletionTimestamp != nil || ended(pod):
		return s.all()
	}
	return nil
}

func (s *scheduler) all() []loop.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]loop.Key, 0, len(s.waiting))
	for k := range s.waiting {
		keys = append(keys, k)
	}
	return keys
}

func (s *scheduler) wait(key loop.Key, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waits {
		s.waiting[key] = true
	} else {
		delete(s.waiting, key)
	}
}

func (s *scheduler) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	res, err := s.place(ctx, key)
	if apierrors.IsConflict(err) {
		return loop.Result{After: 10 * time.Millisecond}, nil
	}
	return res, err
}

func (s *scheduler) place(ctx context.Context, key loop.Key) (loop.Result, error) {
	var pod corev1.Pod
	err := s.Client.Get(ctx, key, &pod)
	if apierrors.IsNotFound(err) || err == nil && (pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || ended(&pod)) {
		s.wait(key, false)
		return loop.Result{}, nil
	}
	if err != nil {
		return loop.Result{}, err
	}
	// It waits from before the world is read: whatever changes from here on wakes it.
	s.wait(key, true)
	var nodes corev1.NodeList
	if err := s.Client.List(ctx, &nodes); err != nil {
		return loop.Result{}, err
	}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods); err != nil {
		return loop.Result{}, err
	}
	node, reasons := Pick(&pod, nodes.Items, pods.Items)
	if node == "" {
		return loop.Result{After: s.Retry}, s.refuse(ctx, &pod, reasons.String(len(nodes.Items)))
	}
	pod.Spec.NodeName = node
	err = s.Client.Update(ctx, &pod)
	if apierrors.IsNotFound(err) {
		s.wait(key, false)
		return loop.Result{}, nil
	}
	if err != nil {
		return loop.Result{}, fmt.Errorf("pod %s: bind to node %s: %w", key, node, err)
	}
	s.wait(key, false)
	s.Events.Event(&pod, corev1.EventTypeNormal, "Scheduled", "assigned to node %s", node)
	return loop.Result{}, nil
}

// refuse says why a pod fits nowhere, if that is news. PodScheduled becomes True when
// the pod's node takes it over: from then on the status is the node's.
func (s *scheduler) refuse(ctx context.Context, pod *corev1.Pod, why string) error {
	want := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: why,
		LastTransitionTime: metav1.NewTime(s.Clock()),
	}
	kept := pod.Status.Conditions[:0:0]
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Type != want.Type:
			kept = append(kept, c)
		case c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message:
			return nil
		case c.Status == want.Status:
			want.LastTransitionTime = c.LastTransitionTime
		}
	}
	pod.Status.Conditions = append(kept, want)
	if pod.Status.Phase == "" {
		pod.Status.Phase = corev1.PodPending
	}
	s.Events.Event(pod, corev1.EventTypeWarning, "FailedScheduling", "%s", why)
	return client.IgnoreNotFound(s.Client.Status().Update(ctx, pod))
}
