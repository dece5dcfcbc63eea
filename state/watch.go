package state

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync/atomic"

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
// happened after it; without one it first sends an Added event for each existing object. An object
// that stops matching the selectors is Deleted. Deleted events carry the object as it last was.
// Where the revision is compacted away the watch ends with an Error event, 410 Expired: list anew.
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
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(c.life, cancel)
	w := &watcher{c: c, k: k, scan: s, proto: prototype(list), out: make(chan watch.Event, 64), cancel: cancel,
		bookmarks: raw.AllowWatchBookmarks}
	if raw.SendInitialEvents != nil && *raw.SendInitialEvents {
		w.initial, w.marked = true, raw.AllowWatchBookmarks
	} else if w.rev, err = parseRevision(raw.ResourceVersion); err != nil {
		cancel()
		return nil, err
	} else if w.rev == 0 {
		w.initial = true
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

// prototype makes empty objects of the Go type that a list's items have.
func prototype(list client.ObjectList) func() client.Object {
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		panic(err) // every client.ObjectList has items
	}
	typ := reflect.TypeOf(ptr).Elem().Elem()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	return func() client.Object { return reflect.New(typ).Interface().(client.Object) }
}

// watcher is one watch. Its goroutine alone writes to out and closes it.
type watcher struct {
	c         *Client
	k         *kindInfo
	scan      *scan
	proto     func() client.Object
	out       chan watch.Event
	cancel    context.CancelFunc
	rev       int64
	initial   bool
	marked    bool
	bookmarks bool
}

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
	case w.out <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watcher) follow(ctx context.Context) error {
	if w.initial {
		if err := w.existing(ctx); err != nil {
			return err
		}
	}
	opts := []clientv3.OpOption{clientv3.WithRange(w.scan.end), clientv3.WithRev(w.rev + 1), clientv3.WithPrevKV()}
	if w.bookmarks {
		opts = append(opts, clientv3.WithProgressNotify())
	}
	etcd := clientv3.WithRequireLeader(ctx)
	if w.c.embedded {
		etcd = ownStream(ctx)
	}
	for resp := range w.c.kv.Watch(etcd, w.scan.from, opts...) {
		if resp.CompactRevision != 0 {
			return apierrors.NewResourceExpired(fmt.Sprintf("watch %s: revision %d is no longer kept (oldest is %d), list anew",
				w.k.Resource, w.rev, resp.CompactRevision))
		}
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch %s: %w", w.k.Resource, err)
		}
		if w.bookmarks && resp.IsProgressNotify() && !w.bookmark(ctx, resp.Header.Revision, nil) {
			return nil
		}
		for _, e := range resp.Events {
			ev, ok, err := w.event(e)
			if err != nil {
				return err
			}
			if ok && !w.send(ctx, ev) {
				return nil
			}
		}
	}
	return nil
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
	first := w.scan.from
	defer func() { w.scan.from = first }()
	for !w.scan.done {
		kvs, err := w.scan.next(ctx)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			obj := w.proto()
			ok, err := w.c.loadMatching(w.k, kv, obj, w.scan.match)
			if err != nil {
				return err
			}
			if ok && !w.send(ctx, watch.Event{Type: watch.Added, Object: obj}) {
				return ctx.Err()
			}
		}
	}
	w.rev = w.scan.rev
	if w.marked {
		w.bookmark(ctx, w.rev, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return nil
}

func (w *watcher) bookmark(ctx context.Context, rev int64, annotations map[string]string) bool {
	obj := w.proto()
	if u, ok := obj.(runtime.Unstructured); ok {
		u.SetUnstructuredContent(map[string]any{})
	}
	obj.GetObjectKind().SetGroupVersionKind(w.k.GroupVersionKind)
	obj.SetResourceVersion(formatRevision(rev))
	obj.SetAnnotations(annotations)
	return w.send(ctx, watch.Event{Type: watch.Bookmark, Object: obj})
}

// event translates a change of a key into what it means under the selectors.
func (w *watcher) event(e *clientv3.Event) (watch.Event, bool, error) {
	if e.Type == clientv3.EventTypeDelete {
		return w.deleted(e.PrevKv, e.Kv)
	}
	obj := w.proto()
	now, err := w.c.loadMatching(w.k, e.Kv, obj, w.scan.match)
	switch {
	case err != nil:
		return watch.Event{}, false, err
	case e.IsCreate():
		return watch.Event{Type: watch.Added, Object: obj}, now, nil
	case w.scan.match.all():
		return watch.Event{Type: watch.Modified, Object: obj}, true, nil
	}
	before := true // where the value before is no longer kept, assume that it was known
	if e.PrevKv != nil {
		if before, err = w.c.loadMatching(w.k, e.PrevKv, w.proto(), w.scan.match); err != nil {
			return watch.Event{}, false, err
		}
	}
	switch {
	case now && before:
		return watch.Event{Type: watch.Modified, Object: obj}, true, nil
	case now:
		return watch.Event{Type: watch.Added, Object: obj}, true, nil
	case before:
		return w.deleted(e.PrevKv, e.Kv)
	}
	return watch.Event{}, false, nil
}

// deleted sends the object as it was, or only its name where the value is no longer kept.
func (w *watcher) deleted(prev, kv *mvccpb.KeyValue) (watch.Event, bool, error) {
	obj := w.proto()
	selected := true
	if prev == nil {
		name, err := nameIn(w.c.opts.Prefix, w.k.Kind, string(kv.Key))
		if err != nil {
			return watch.Event{}, false, err
		}
		if u, ok := obj.(runtime.Unstructured); ok {
			u.SetUnstructuredContent(map[string]any{})
		}
		obj.GetObjectKind().SetGroupVersionKind(w.k.GroupVersionKind)
		obj.SetNamespace(name.Namespace)
		obj.SetName(name.Name)
	} else {
		var err error
		if selected, err = w.c.loadMatching(w.k, prev, obj, w.scan.match); err != nil {
			return watch.Event{}, false, err
		}
	}
	obj.SetResourceVersion(formatRevision(kv.ModRevision))
	return watch.Event{Type: watch.Deleted, Object: obj}, selected, nil
}
