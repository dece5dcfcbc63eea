package state

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Watch implements client.WithWatch. From a resourceVersion in the raw options it sends what
// happened after it; without one it first sends an Added event for each object that exists when Watch is
// called, so that whatever changes after Watch has returned is told. An object that stops matching the
// selectors is Deleted. Deleted events carry the object as it last was.
// Where one transaction wrote several objects of the kind at just the revision asked from (see
// ApplyMany), they are sent again: the caller may have been cut off in the midst of them.
// Where the revision is compacted away, or is none of this live state's, the watch ends with an Error event,
// 410 Expired: list anew.
// With AllowWatchBookmarks, a Bookmark comes about every minute of silence.
func (c *Client) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	lo := client.ListOptions{}
	lo.ApplyOptions(opts)
	k, err := kindOfList(list)
	if err != nil {
		return nil, err
	}
	s, err := c.scan(k, &client.ListOptions{Namespace: lo.Namespace, FieldSelector: lo.FieldSelector, LabelSelector: lo.LabelSelector})
	if err != nil {
		return nil, err
	}
	raw := metav1.ListOptions{}
	if lo.Raw != nil {
		raw = *lo.Raw
	}
	ctx, end := context.WithCancel(ctx)
	forget := context.AfterFunc(c.life, end)
	cancel := func() { forget(); end() }
	w := &watcher{c: c, k: k, scan: s, typ: itemType(list), out: make(chan watch.Event, 64), cancel: cancel,
		bookmarks: raw.AllowWatchBookmarks}
	if raw.SendInitialEvents != nil && *raw.SendInitialEvents {
		w.initial, w.marked = true, raw.AllowWatchBookmarks
	} else if w.rev, err = parseRevision(raw.ResourceVersion); err != nil {
		cancel()
		return nil, err
	} else if w.rev == 0 {
		w.initial = true
	} else {
		w.resumed = w.rev
		w.rev--
	}
	w.from = s.from
	if w.initial {
		if w.page, err = s.next(ctx); err != nil {
			cancel()
			return nil, err
		}
	}
	go w.run(ctx)
	return w, nil
}

func parseRevision(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	rev, err := strconv.ParseInt(s, 10, 64)
	if err != nil || rev < 0 {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion %q is not a revision", s))
	}
	return rev, nil
}

// itemType is the Go type that a list's items have.
func itemType(list client.ObjectList) reflect.Type {
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		panic(err) // every client.ObjectList has items
	}
	typ := reflect.TypeOf(ptr).Elem().Elem()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	return typ
}

// watcher is one watch. Its goroutine alone writes to out and closes it.
type watcher struct {
	c      *Client
	k      *kindInfo
	scan   *scan
	typ    reflect.Type
	out    chan watch.Event
	cancel context.CancelFunc
	// rev: all up to this revision has been sent.
	rev int64
	// told is the last revision that the caller can know of.
	told int64
	// resumed is the revision that the caller has seen at least some of; 0: none.
	resumed int64
	// from is the first key; the scan's own moves on.
	from string
	// page is the first of what exists, with initial.
	page      []*mvccpb.KeyValue
	initial   bool
	marked    bool
	bookmarks bool
}

func (w *watcher) proto() client.Object { return reflect.New(w.typ).Interface().(client.Object) }

func (w *watcher) ResultChan() <-chan watch.Event { return w.out }
func (w *watcher) Stop()                          { w.cancel() }

func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	defer w.cancel()
	if err := w.follow(ctx); err != nil && ctx.Err() == nil {
		status := apierrors.NewInternalError(err).ErrStatus
		if s, ok := err.(apierrors.APIStatus); ok {
			status = s.Status()
		}
		w.send(ctx, watch.Event{Type: watch.Error, Object: &status})
	}
}

func (w *watcher) send(ctx context.Context, ev watch.Event) bool {
	select {
	case w.out <- ev: // much cheaper than what follows
		return true
	default:
	}
	select {
	case w.out <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow sends what happens after rev, until ctx ends.
func (w *watcher) follow(ctx context.Context) error {
	if w.initial {
		if err := w.existing(ctx); err != nil {
			return err
		}
	} else if err := w.past(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		var err error
		if h, place := w.c.join(w.k, w.rev); h != nil {
			err = w.shared(ctx, h, place)
		} else {
			err = w.alone(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// past refuses a revision that is still to come: the caller knows it from a live state that was since
// replaced by a backup, and would wait for it in vain.
func (w *watcher) past(ctx context.Context) error {
	resp, err := w.c.kv.Get(ctx, w.from, clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.k.Resource, err)
	}
	if w.resumed > resp.Header.Revision {
		return apierrors.NewResourceExpired(fmt.Sprintf("watch %s: revision %d is not of this live state (which is at %d), list anew",
			w.k.Resource, w.resumed, resp.Header.Revision))
	}
	return nil
}

// shared follows the kind's hub from a place on, until the hub has ended or was too fast.
func (w *watcher) shared(ctx context.Context, h *hub, place uint64) error {
	defer w.c.leave(w.k, h)
	silence := time.NewTimer(w.c.opts.bookmarkEvery)
	defer silence.Stop()
	for {
		t := h.take(place)
		if len(t.changes) > 0 {
			if sent, err := w.changes(ctx, t.changes); err != nil || ctx.Err() != nil {
				return err
			} else if sent {
				silence.Reset(w.c.opts.bookmarkEvery)
			}
			// The hub may be behind of what this watcher followed by itself.
			w.rev, place = max(w.rev, t.rev), place+uint64(len(t.changes))
			continue
		}
		if t.lost {
			// A hub that has ended may be one whose revision was compacted; etcd tells each watcher by itself.
			return w.alone(ctx)
		}
		w.rev = max(w.rev, t.rev)
		select {
		case <-t.news:
		case <-ctx.Done():
			return nil
		case <-silence.C:
			silence.Reset(w.c.opts.bookmarkEvery)
			// Without news of a later revision there is nothing to tell.
			if w.bookmarks && w.rev > w.told && !w.bookmark(ctx, nil) {
				return nil
			}
		}
	}
}

// alone follows etcd by itself, until all that is not yet sent is kept by the kind's hub.
func (w *watcher) alone(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range w.c.follow(ctx, w.from, w.scan.end, w.rev+1) {
		switch {
		case resp.CompactRevision != 0 && resp.CompactRevision == w.resumed+1:
			w.rev, w.resumed = w.resumed, 0
			return nil
		case resp.CompactRevision != 0:
			return apierrors.NewResourceExpired(fmt.Sprintf("watch %s: revision %d is no longer kept (oldest is %d), list anew",
				w.k.Resource, max(w.rev, w.resumed), resp.CompactRevision))
		case resp.Err() != nil:
			return fmt.Errorf("watch %s: %w", w.k.Resource, resp.Err())
		case resp.IsProgressNotify():
			w.rev = max(w.rev, resp.Header.Revision)
			if w.bookmarks && w.rev > w.told && !w.bookmark(ctx, nil) {
				return nil
			}
		default:
			changes := make([]*change, len(resp.Events))
			for i, e := range resp.Events {
				changes[i] = newChange(e)
			}
			if _, err := w.changes(ctx, changes); err != nil || ctx.Err() != nil {
				return err
			}
			w.rev = max(w.rev, changes[len(changes)-1].Kv.ModRevision)
		}
		if w.c.keeps(w.k, w.rev) {
			return nil
		}
	}
	return nil
}

// changes sends those changes that the watch is about, whole revisions of them.
func (w *watcher) changes(ctx context.Context, changes []*change) (sent bool, err error) {
	again := 0
	for _, e := range changes {
		if e.Kv.ModRevision > w.resumed {
			break
		}
		if e.Kv.ModRevision == w.resumed && w.covers(e) {
			again++
		}
	}
	for _, e := range changes {
		if !w.covers(e) || e.Kv.ModRevision <= w.rev || e.Kv.ModRevision == w.resumed && again == 1 {
			continue
		}
		ev, ok, err := w.event(e)
		if err != nil {
			return sent, err
		}
		if !ok {
			continue
		}
		if !w.send(ctx, ev) {
			return sent, nil
		}
		sent, w.told = true, e.Kv.ModRevision
	}
	return sent, nil
}

func (w *watcher) covers(e *change) bool {
	return e.key >= w.from && e.key < w.scan.end
}

// ownStream gives a watch of the embedded etcd a stream of its own. etcd's client puts watches whose
// contexts carry the same metadata on one stream, and the pipe that stands for the network inside of a
// process has no buffer: one watch being cancelled while another is sent to blocks both ends for ever.
func ownStream(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "slipway-watch", strconv.FormatUint(streams.Add(1), 10))
}

var streams atomic.Uint64

// existing sends what there is and leaves rev at the revision it was read at.
func (w *watcher) existing(ctx context.Context) error {
	for {
		for _, kv := range w.page {
			obj := w.proto()
			ok, err := w.c.loadMatching(w.k, kv, obj, w.scan.match)
			if err != nil {
				return err
			}
			if ok && !w.send(ctx, watch.Event{Type: watch.Added, Object: obj}) {
				return ctx.Err()
			}
		}
		if w.page = nil; w.scan.done {
			break
		}
		var err error
		if w.page, err = w.scan.next(ctx); err != nil {
			return err
		}
	}
	w.rev, w.told = w.scan.rev, w.scan.rev
	if w.marked {
		w.bookmark(ctx, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return nil
}

func (w *watcher) bookmark(ctx context.Context, annotations map[string]string) bool {
	rev := max(w.rev, w.resumed)
	w.told = rev
	obj := w.proto()
	if u, ok := obj.(runtime.Unstructured); ok {
		u.SetUnstructuredContent(map[string]any{})
	}
	obj.GetObjectKind().SetGroupVersionKind(w.k.GroupVersionKind)
	obj.SetResourceVersion(formatRevision(rev))
	obj.SetAnnotations(annotations)
	return w.send(ctx, watch.Event{Type: watch.Bookmark, Object: obj})
}
