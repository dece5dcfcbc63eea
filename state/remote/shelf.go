package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// keptEvents is how many events of a kind are kept for watches that are behind.
const keptEvents = 4096

// keepEvery is the least time between two writes of a kind to disk.
const keepEvery = time.Second

// shelf is the mirror of a kind. Its own revision counts what happened to it; objects keep those of the server.
// An object on it is never changed.
type shelf struct {
	kind  api.Kind
	typ   reflect.Type
	file  string        // empty: nothing is kept on disk
	ready chan struct{} // closed when everything was seen once

	mu      sync.Mutex
	opened  bool                               // guarded by mu, as all that follows
	objects map[client.ObjectKey]client.Object //
	absent  map[client.ObjectKey]bool          // of these the server last said that they are not there
	events  []watch.Event                      // the last of them
	rev     int64                              // how many there were
	news    chan struct{}                      // closed at the next event
	dirty   bool                               // disk is behind
}

func newShelf(k api.Kind, dir string) (*shelf, error) {
	o, err := api.Scheme().New(k.GroupVersionKind)
	if err != nil {
		return nil, err
	}
	s := &shelf{
		kind: k, typ: reflect.TypeOf(o).Elem(), ready: make(chan struct{}),
		objects: map[client.ObjectKey]client.Object{}, absent: map[client.ObjectKey]bool{}, news: make(chan struct{}), rev: 1,
	}
	if dir == "" {
		return s, nil
	}
	s.file = filepath.Join(dir, k.GroupResource().String()+".json")
	return s, s.load()
}

func (s *shelf) newList() (client.ObjectList, error) {
	o, err := api.Scheme().New(s.kind.GroupVersion().WithKind(s.kind.Kind + "List"))
	if err != nil {
		return nil, err
	}
	return o.(client.ObjectList), nil
}

// load reads what an earlier process has seen. What cannot be read is an error: it would be taken for nothing.
func (s *shelf) load() error {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := s.newList()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, list); err != nil {
		return fmt.Errorf("%s: %w: remove the file, and start the node while a server is there", s.file, err)
	}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		o := item.(client.Object)
		s.objects[client.ObjectKeyFromObject(o)] = o
		return nil
	})
	s.open()
	return err
}

func (s *shelf) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openLocked()
}

func (s *shelf) openLocked() {
	if !s.opened {
		s.opened = true
		close(s.ready)
	}
}

// tell adds an event; mu is held.
func (s *shelf) tell(t watch.EventType, o client.Object) {
	s.rev++
	s.events = append(s.events, watch.Event{Type: t, Object: o})
	if len(s.events) > 2*keptEvents {
		s.events = slices.Clone(s.events[len(s.events)-keptEvents:])
	}
	close(s.news)
	s.news = make(chan struct{})
	s.dirty = true
}

// replace makes fresh all there is.
func (s *shelf) replace(fresh map[client.ObjectKey]client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, old := range s.objects {
		if fresh[key] == nil {
			delete(s.objects, key)
			s.tell(watch.Deleted, old)
		}
	}
	for key, o := range fresh {
		old := s.objects[key]
		if old != nil && old.GetResourceVersion() == o.GetResourceVersion() && old.GetUID() == o.GetUID() && reflect.DeepEqual(old, o) {
			continue
		}
		s.set(key, o, old)
	}
	clear(s.absent)
	if !s.opened {
		s.dirty = true
	}
	s.openLocked()
}

// set puts an object where old was; mu is held.
func (s *shelf) set(key client.ObjectKey, o, old client.Object) {
	o.GetObjectKind().SetGroupVersionKind(s.kind.GroupVersionKind)
	s.objects[key] = o
	delete(s.absent, key)
	t := watch.Modified
	if old == nil {
		t = watch.Added
	}
	s.tell(t, o)
}

// put takes an object in, unless a newer one is there. The caller gives it away.
func (s *shelf) put(o client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(o)
	old := s.objects[key]
	if old != nil && revision(old) > revision(o) {
		return
	}
	s.set(key, o, old)
}

func (s *shelf) drop(o client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(o)
	if old := s.objects[key]; old != nil && (revision(old) <= revision(o) || byNeed[s.kind.Kind]) {
		delete(s.objects, key)
		s.tell(watch.Deleted, old)
	}
}

// revision of etcd, by which objects of one server compare.
func revision(o client.Object) int64 {
	n, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// get is an object, or nil. known: what is not there is not anywhere.
func (s *shelf) get(key client.ObjectKey) (_ client.Object, known bool) {
	if !s.kind.Namespaced {
		key.Namespace = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[key]; ok {
		return o, true
	}
	return nil, s.opened
}

// holds says whether an object is of the type that is kept here.
func (s *shelf) holds(o client.Object) bool { return reflect.TypeOf(o).Elem() == s.typ }

func (s *shelf) noteAbsent(key client.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.absent[key] = true
}

func (s *shelf) wasAbsent(key client.ObjectKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.absent[key]
}

// all are the objects in the order of their names, and the shelf's revision.
func (s *shelf) all() (out []client.Object, rev int64, opened bool) {
	s.mu.Lock()
	for _, o := range s.objects {
		out = append(out, o)
	}
	rev, opened = s.rev, s.opened
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, rev, opened
}

// after are the events after a revision; lost: not all of them are kept. news tells of the next.
func (s *shelf) after(rev int64) (events []watch.Event, lost bool, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.rev - rev
	if n < 0 || n > int64(len(s.events)) {
		return nil, true, nil
	}
	return slices.Clone(s.events[int64(len(s.events))-n:]), false, s.news
}

// keep writes what changed to disk, now and then and at the end.
func (s *shelf) keep(ctx context.Context, log *slog.Logger) {
	if s.file == "" {
		return
	}
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-time.After(keepEvery):
		}
		if err := s.store(); err != nil {
			log.Warn("what is known of live state is not on disk, will retry", "kind", s.kind.Resource, "error", err)
		}
	}
}

func (s *shelf) store() error {
	s.mu.Lock()
	dirty := s.dirty && s.opened
	if dirty {
		s.dirty = false
	}
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	objects, _, _ := s.all()
	list := struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Items      []client.Object `json:"items"`
	}{s.kind.GroupVersion().String(), s.kind.Kind + "List", objects}
	data, err := json.Marshal(list)
	if err == nil {
		err = writeFile(s.file, data)
	}
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}
