package render

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"

	"slipway.dev/slipway/api"
)

// The bounds of the cache.
const (
	maxEntries       = 256
	maxCachedObjects = 20_000
)

// entry is a render's outcome and everything it depends on beside the request.
type entry struct {
	key      string
	objects  []api.DesiredObject
	problems api.Problems
	files    []string
	reads    map[string][sha256.Size]byte
	values   map[string]map[string]string
}

// desired is a copy that the caller may change.
func (e entry) desired() api.Desired {
	if len(e.problems) > 0 {
		return api.Desired{}
	}
	d := api.Desired{Objects: make([]api.DesiredObject, len(e.objects))}
	for i, o := range e.objects {
		d.Objects[i] = api.DesiredObject{Unstructured: o.DeepCopy(), Origin: o.Origin}
	}
	for _, name := range slices.Sorted(maps.Keys(e.reads)) {
		if e.reads[name] != [sha256.Size]byte{} {
			d.Depends.Files = append(d.Depends.Files, name)
		}
	}
	return d
}

// cache keeps outcomes; the one that was not asked for the longest goes first.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu
	order   *list.List               // guarded by mu; of entry, newest first
	objects int                      // guarded by mu
}

func newCache() *cache { return &cache{entries: map[string]*list.Element{}, order: list.New()} }

func cacheKey(q Request) string {
	raw, err := json.Marshal([]any{q.Application, q.Project, q.Path, q.Parameters})
	if err != nil {
		return ""
	}
	return string(raw)
}

// get finds an outcome whose inputs are all as they were: the same files to render, each
// read file's content, each file that was looked for in vain, each generated value.
func (c *cache) get(ctx context.Context, q Request, t *tree, files []string, v *values) (entry, bool, error) {
	c.mu.Lock()
	at := c.entries[cacheKey(q)]
	var e entry
	if at != nil {
		c.order.MoveToFront(at)
		e = at.Value.(entry)
	}
	c.mu.Unlock()
	if at == nil || !slices.Equal(e.files, files) {
		return entry{}, false, nil
	}
	for name, was := range e.reads {
		_, _, err := t.file(name)
		var no refused
		if errors.As(err, &no) {
			return entry{}, false, nil
		}
		if err != nil {
			return entry{}, false, err
		}
		if t.digests[name] != was {
			return entry{}, false, nil
		}
	}
	same, err := v.same(ctx, e.values)
	return e, same, err
}

func (c *cache) put(q Request, e entry) {
	e.key = cacheKey(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[e.key]; old != nil {
		c.drop(old)
	}
	c.entries[e.key] = c.order.PushFront(e)
	c.objects += len(e.objects)
	for c.order.Len() > maxEntries || c.objects > maxCachedObjects {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(at *list.Element) {
	e := c.order.Remove(at).(entry)
	delete(c.entries, e.key)
	c.objects -= len(e.objects)
}
