package storage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
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
	// Log gets warnings; default: none are kept.
	Log *slog.Logger
}

// Controllers is the one controller of this package. Its keys are claims and, without a
// namespace, volumes. It looks at one after the other, so that each decision sees the one before.
func Controllers(d Deps) []loop.Controller {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	b := &binder{Deps: d, waiting: map[loop.Key]bool{}}
	return []loop.Controller{{
		Name: "storage",
		Watches: []loop.Watch{
			{List: &corev1.PersistentVolumeList{}, Keys: b.ofVolume},
			{List: &corev1.PersistentVolumeClaimList{}, Keys: ofClaim},
			{List: &corev1.PodList{}, Keys: ofPod},
			{List: &corev1.NodeList{}, Keys: b.ofNode},
		},
		Workers:   1,
		Reconcile: b.reconcile,
	}}
}

type binder struct {
	Deps
	mu sync.Mutex
	// waiting are the claims without a volume, and the volumes that wait for a node; guarded by mu
	waiting map[loop.Key]bool
}

// ofVolume: the volume itself, the claim that it names, and all that wait for one.
func (b *binder) ofVolume(o client.Object) []loop.Key {
	keys := append(b.waiters(true), loop.Key{Name: o.GetName()})
	if v, ok := o.(*corev1.PersistentVolume); ok && v.Spec.ClaimRef != nil {
		keys = append(keys, loop.Key{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name})
	}
	return keys
}

// ofClaim: the claim itself, and its volume.
func ofClaim(o client.Object) []loop.Key {
	keys := []loop.Key{client.ObjectKeyFromObject(o)}
	if c, ok := o.(*corev1.PersistentVolumeClaim); ok && c.Spec.VolumeName != "" {
		keys = append(keys, loop.Key{Name: c.Spec.VolumeName})
	}
	return keys
}

// ofPod: the claims that a pod protects.
func ofPod(o client.Object) []loop.Key {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return nil
	}
	var keys []loop.Key
	for _, name := range api.ClaimNames(&p.Spec) {
		keys = append(keys, loop.Key{Namespace: p.Namespace, Name: name})
	}
	return keys
}

// ofNode: the volumes that wait for one.
func (b *binder) ofNode(client.Object) []loop.Key { return b.waiters(false) }

func (b *binder) waiters(claims bool) []loop.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []loop.Key
	for k := range b.waiting {
		if (k.Namespace != "") == claims {
			keys = append(keys, k)
		}
	}
	return keys
}

func (b *binder) wait(key loop.Key, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if waits {
		b.waiting[key] = true
	} else {
		delete(b.waiting, key)
	}
}

func (b *binder) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	look := b.volume
	if key.Namespace != "" {
		look = b.claim
	}
	err := look(ctx, key)
	if apierrors.IsConflict(err) {
		// Another writer was faster: that is no error.
		return loop.Result{After: 10 * time.Millisecond}, nil
	}
	return loop.Result{}, err
}
