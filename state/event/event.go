// Package event tells people what happens to objects: as Kubernetes Events in live state, counted
// where the same thing happens again.
package event

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Limits of what is kept in memory and of what is written.
const (
	// Pending is how many different events wait to be written; more are dropped and counted.
	Pending = 1024
	// MaxMessage is how many bytes of a message are kept.
	MaxMessage = 1024
	writeTries = 3
	writeTime  = 10 * time.Second
)

// Recorder writes events, in its own goroutine: recording neither waits nor fails. What could not be
// written after three tries is logged and forgotten. Live state removes an event an hour after it last
// happened.
type Recorder struct {
	client    client.Client
	component string
	log       *slog.Logger
	now       func() time.Time

	mu      sync.Mutex // guards all below
	pending map[client.ObjectKey]*corev1.Event
	groups  groups
	order   []client.ObjectKey
	dropped int
	running bool
	idle    *sync.Cond // signalled when running becomes false
}

// New is a Recorder whose events say that component reports them.
func New(c client.Client, component string, log *slog.Logger) *Recorder {
	r := &Recorder{client: c, component: component, log: log, now: time.Now, pending: map[client.ObjectKey]*corev1.Event{}, groups: groups{}}
	r.idle = sync.NewCond(&r.mu)
	return r
}

// Event records that something happened to obj. eventtype is corev1.EventTypeNormal or
// EventTypeWarning, reason one word in CamelCase that programs may match, the message one sentence
// for people. The same object, type, reason and message are one Event with a count; of many messages
// that differ, those beyond [Similar] are one, too.
func (r *Recorder) Event(obj client.Object, eventtype, reason, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	gvk := r.kindOf(obj)
	identity := message
	if r.groups.combines(strings.Join([]string{gvk.Group, gvk.Kind, obj.GetNamespace(), obj.GetName(), string(obj.GetUID()), eventtype, reason}, "/"), message, r.now()) {
		identity, message = Combined, Combined+message
	}
	ev := r.event(obj, gvk, eventtype, reason, identity, message)
	key := client.ObjectKeyFromObject(ev)
	if have, ok := r.pending[key]; ok {
		have.Count++
		have.LastTimestamp, have.Message = ev.LastTimestamp, ev.Message
		return
	}
	if len(r.pending) >= Pending {
		r.dropped++
		return
	}
	r.pending[key] = ev
	r.order = append(r.order, key)
	if !r.running {
		r.running = true
		go r.drain()
	}
}

// Flush waits until what was recorded before is written or given up, or ctx ends.
func (r *Recorder) Flush(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.idle.Broadcast()
	})()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.running {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.idle.Wait()
	}
	return nil
}

func (r *Recorder) drain() {
	for {
		r.mu.Lock()
		dropped := r.dropped
		r.dropped = 0
		if len(r.order) == 0 {
			r.running = false
			r.order = nil
			r.idle.Broadcast()
			r.mu.Unlock()
			return
		}
		key := r.order[0]
		ev := r.pending[key]
		r.order = r.order[1:]
		delete(r.pending, key)
		r.mu.Unlock()
		if dropped > 0 {
			r.log.Warn("events dropped: they come faster than they can be written", "count", dropped)
		}
		if err := r.write(ev); err != nil {
			r.log.Warn("event not written", "event", key.String(), "reason", ev.Reason, "error", err)
		}
	}
}

// write creates the event, or counts it where it is there already.
func (r *Recorder) write(ev *corev1.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	var err error
	for range writeTries {
		err = r.client.Create(ctx, ev.DeepCopy())
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		var have corev1.Event
		if err = r.client.Get(ctx, client.ObjectKeyFromObject(ev), &have); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		have.Count += ev.Count
		have.LastTimestamp, have.Message = ev.LastTimestamp, ev.Message
		if err = r.client.Update(ctx, &have); !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return err
}

// event is one occurrence. Its name follows from what it says (identity), so that another process, or
// this one after a restart, finds it to count it.
func (r *Recorder) event(obj client.Object, gvk schema.GroupVersionKind, eventtype, reason, identity, message string) *corev1.Event {
	identity, message = cut(identity), cut(message)
	now := metav1.NewTime(r.now())
	h := sha256.New()
	for _, s := range []string{gvk.Group, gvk.Kind, string(obj.GetUID()), eventtype, reason, identity, r.component} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	base := obj.GetName()
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceFor(obj, gvk),
			Name:      strings.ToLower(strings.ReplaceAll(base[:min(len(base), 200)], ":", "-")) + "." + hex.EncodeToString(h.Sum(nil)[:8]),
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName(),
			UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
		},
		Type: eventtype, Reason: reason, Message: message, Count: 1,
		FirstTimestamp: now, LastTimestamp: now,
		Source:              corev1.EventSource{Component: r.component},
		ReportingController: r.component,
	}
}

func cut(message string) string {
	if len(message) > MaxMessage {
		message = strings.ToValidUTF8(message[:MaxMessage-len("…")], "") + "…"
	}
	return message
}

func (r *Recorder) kindOf(obj client.Object) schema.GroupVersionKind {
	gvk, err := r.client.GroupVersionKindFor(obj)
	if err != nil {
		return obj.GetObjectKind().GroupVersionKind()
	}
	return gvk
}

// namespaceFor is where an event about obj is kept: with the object, a project's in the project, so
// that those who work in it see it, and all others' in default.
func namespaceFor(obj client.Object, gvk schema.GroupVersionKind) string {
	switch {
	case obj.GetNamespace() != "":
		return obj.GetNamespace()
	case gvk.Group == projectv1.GroupName && gvk.Kind == "Project":
		return obj.GetName()
	}
	return metav1.NamespaceDefault
}
