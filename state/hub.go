package state

import (
	"context"
	"reflect"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// All watches of a kind share one watch of etcd, the hub, which keeps the latest changes for them. Each
// watcher reads on from its own place, at its own pace; the hub waits for none. One whose
// place is no longer kept, or that starts from an older revision, follows etcd by itself until it has
// caught up with what the hub keeps.
//
// Changes of one revision, a transaction's, are kept and handed out together: a place is always between
// two revisions.

// How much a hub keeps: changes, and bytes of their values.
const (
	hubChanges = 1024
	hubBytes   = 8 << 20
)

// decodedFor is how long a change's objects are kept decoded, which takes many times the memory of the
// values. A watcher that is slower decodes for itself, and for those as slow as it is.
const decodedFor = time.Second

// hubPause is the least time between two wakings of a hub's watchers.
const hubPause = 5 * time.Millisecond

// takeAtOnce is how many changes a watcher takes from the hub at once, or all of one revision.
const takeAtOnce = 128

// hubs are the hubs that have watchers, by what their keys begin with.
type hubs struct {
	mu  sync.Mutex // guards all
	all map[string]*hub
}

type hub struct {
	stop context.CancelFunc
	// refs counts watchers; guarded by hubs.mu.
	refs int

	mu sync.RWMutex // guards what follows
	// changes are the latest, oldest first; the first of them has the number first. The slice's array is
	// only appended to.
	changes []*change
	first   uint64
	bytes   int
	// stale is the number of the first change that may be decoded.
	stale uint64
	// floor: every change after this revision and up to rev is kept.
	floor, rev int64
	// news is closed and replaced when something is added or the hub ends.
	news chan struct{}
	// ended: etcd's watch is over, and nothing will be added.
	ended bool
}

// change is one event of etcd, decoded once for all watchers that want the same Go type.
type change struct {
	*clientv3.Event
	key string
	// came is when the hub was told.
	came time.Time

	// decoded is replaced, under mu, and never changed.
	decoded atomic.Pointer[[]decoded]
	mu      sync.Mutex
}

type decoded struct {
	typ  reflect.Type
	prev bool
	obj  client.Object
	err  error
}

func newChange(e *clientv3.Event) *change {
	return &change{Event: e, key: string(e.Kv.Key), came: time.Now()}
}

func (e *change) find(typ reflect.Type, prev bool) *decoded {
	if all := e.decoded.Load(); all != nil {
		for i := range *all {
			if d := &(*all)[i]; d.typ == typ && d.prev == prev {
				return d
			}
		}
	}
	return nil
}

// object is the change's value, or the one before it, as an object of a Go type. It is shared: whoever
// hands it on copies it.
func (e *change) object(c *Client, k *kindInfo, prev bool, typ reflect.Type) (client.Object, error) {
	if d := e.find(typ, prev); d != nil {
		return d.obj, d.err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.find(typ, prev); d != nil {
		return d.obj, d.err
	}
	kv := e.Kv
	if prev {
		kv = e.PrevKv
	}
	obj := reflect.New(typ).Interface().(client.Object)
	all := []decoded{{typ, prev, obj, c.load(k, kv, obj)}}
	if before := e.decoded.Load(); before != nil {
		all = append(all, *before...)
	}
	e.decoded.Store(&all)
	return all[0].obj, all[0].err
}

// join gives a watcher that has seen all up to rev its place in the kind's hub, which is made where
// there is none; nil where the hub does not keep that much.
func (c *Client) join(k *kindInfo, rev int64) (*hub, uint64) {
	prefix := prefixOf(c.opts.Prefix, k.Kind, "")
	c.hubs.mu.Lock()
	defer c.hubs.mu.Unlock()
	h := c.hubs.all[prefix]
	if h != nil && h.over() {
		h = nil
	}
	if h == nil {
		ctx, stop := context.WithCancel(c.life)
		h = &hub{stop: stop, floor: rev, rev: rev, news: make(chan struct{})}
		c.hubs.all[prefix] = h
		go h.run(ctx, c, prefix, rev+1)
	}
	place, ok := h.place(rev)
	if !ok {
		return nil, 0
	}
	h.refs++
	return h, place
}

// keeps: joining the kind's hub at rev would work, also because there is none and it would be made.
func (c *Client) keeps(k *kindInfo, rev int64) bool {
	c.hubs.mu.Lock()
	defer c.hubs.mu.Unlock()
	h := c.hubs.all[prefixOf(c.opts.Prefix, k.Kind, "")]
	if h == nil || h.over() {
		return true
	}
	_, ok := h.place(rev)
	return ok
}

// leave ends a hub with its last watcher.
func (c *Client) leave(k *kindInfo, h *hub) {
	prefix := prefixOf(c.opts.Prefix, k.Kind, "")
	c.hubs.mu.Lock()
	defer c.hubs.mu.Unlock()
	if h.refs--; h.refs > 0 {
		return
	}
	h.stop()
	if c.hubs.all[prefix] == h {
		delete(c.hubs.all, prefix)
	}
}

func (h *hub) over() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.ended
}

// place is the number of the first change after rev, if all since then are kept.
func (h *hub) place(rev int64) (uint64, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	i := sort.Search(len(h.changes), func(i int) bool { return h.changes[i].Kv.ModRevision > rev })
	return h.first + uint64(i), h.floor <= rev
}

// run keeps what etcd tells. Watchers are woken at once, but no more often than every hubPause: waking a
// thousand costs more than what each then does with one change.
func (h *hub) run(ctx context.Context, c *Client, prefix string, rev int64) {
	defer h.end()
	defer h.stop()
	events := c.follow(ctx, prefix, clientv3.GetPrefixRangeEnd(prefix), rev)
	pause := time.NewTimer(hubPause)
	defer pause.Stop()
	forget := time.NewTicker(decodedFor)
	defer forget.Stop()
	resting, pending := false, false
	for {
		select {
		case resp, ok := <-events:
			if !ok || resp.Err() != nil {
				return
			}
			pending = h.add(resp) || pending
		case <-pause.C:
			resting = false
		case now := <-forget.C:
			h.forget(now.Add(-decodedFor))
		}
		if pending && !resting {
			h.wake()
			pending, resting = false, true
			pause.Reset(hubPause)
		}
	}
}

// forget lets the decoded objects of changes go that came before a time.
func (h *hub) forget(before time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.stale = max(h.stale, h.first); h.stale < h.first+uint64(len(h.changes)); h.stale++ {
		e := h.changes[h.stale-h.first]
		if e.came.After(before) {
			return
		}
		e.decoded.Store(nil)
	}
}

func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.news)
	h.news = make(chan struct{})
}

// follow is etcd's watch of a range of keys from a revision on, with the values before and with news of
// the revision when it is silent.
func (c *Client) follow(ctx context.Context, from, end string, rev int64) clientv3.WatchChan {
	if c.embedded {
		ctx = ownStream(ctx)
	} else {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	return c.kv.Watch(ctx, from, clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
}

func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	close(h.news)
}

// add keeps what a response tells, and says whether there are changes in it.
func (h *hub) add(resp clientv3.WatchResponse) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if resp.IsProgressNotify() {
		h.rev = max(h.rev, resp.Header.Revision)
		return false
	}
	for _, e := range resp.Events {
		h.changes = append(h.changes, newChange(e))
		h.bytes += sizeOf(e.Kv) + sizeOf(e.PrevKv)
		h.rev = max(h.rev, e.Kv.ModRevision)
	}
	for len(h.changes) > hubChanges || h.bytes > hubBytes && len(h.changes) > 0 {
		e := h.changes[0]
		h.floor = e.Kv.ModRevision
		h.bytes -= sizeOf(e.Kv) + sizeOf(e.PrevKv)
		// The array is shared with watchers: what is before the slice goes when the array is next replaced.
		h.changes = h.changes[1:]
		h.first++
	}
	return len(resp.Events) > 0
}

func sizeOf(kv *mvccpb.KeyValue) int {
	if kv == nil {
		return 0
	}
	return len(kv.Key) + len(kv.Value)
}

// taken is what a watcher gets at its place.
type taken struct {
	changes []*change
	// rev: all changes up to here are in changes, or were before them.
	rev int64
	// news is closed when there is more, where changes is empty.
	news <-chan struct{}
	// lost: the place is no longer kept, or the hub has ended and all that it kept was taken.
	lost bool
}

func (h *hub) take(place uint64) taken {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if place < h.first {
		return taken{lost: true}
	}
	rest := h.changes[place-h.first:]
	if len(rest) == 0 {
		return taken{rev: h.rev, news: h.news, lost: h.ended}
	}
	n := min(len(rest), takeAtOnce)
	for n < len(rest) && rest[n].Kv.ModRevision == rest[n-1].Kv.ModRevision {
		n++
	}
	return taken{changes: rest[:n:n], rev: rest[n-1].Kv.ModRevision}
}
