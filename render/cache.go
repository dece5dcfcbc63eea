package render

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

// maxCached bounds what outcomes are kept, in bytes as cost counts them.
const maxCached = 512 << 20

// entry is a render's outcome and everything it depends on beside the request.
type entry struct {
	key      string
	desired  api.Desired
	problems api.Problems
	// files are the ones that were rendered.
	files []string
	// reads are the digests of what was looked at; empty: there was no such file.
	reads map[string]string
	// identities are the tree's own digests of what was read outside of the folder; nil if
	// the tree has none. The folder's own is part of the key.
	identities map[string]string
	values     map[string]map[string]string
	cost       int64
}

// cache keeps outcomes; the one that was not asked for the longest goes first.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu
	order   *list.List               // guarded by mu; of *entry, newest first
	cost    int64                    // guarded by mu
}

func newCache() *cache { return &cache{entries: map[string]*list.Element{}, order: list.New()} }

// cacheKey tells outcomes apart. Where the tree can tell a folder's identity, outcomes of
// several revisions are kept beside each other.
func cacheKey(q Request, t *tree, dir string) string {
	raw, err := json.Marshal([]any{q.Application, q.Project, dir, q.Parameters, q.Conceal})
	if err != nil {
		return ""
	}
	return string(raw) + t.identity(dir)
}

// look finds an entry by its key alone; nil: there is none.
func (c *cache) look(key string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.entries[key]
	if at == nil {
		return nil
	}
	c.order.MoveToFront(at)
	return at.Value.(*entry)
}

// get finds an outcome whose inputs are all as they were: the same files to render, each
// read file's content, each file that was looked for in vain, each generated value.
// Nothing is read where the tree tells digests.
func (c *cache) get(ctx context.Context, key string, dir string, t *tree, v *values) (*entry, bool, error) {
	e := c.look(key)
	if e == nil {
		return nil, false, nil
	}
	same := true
	if e.identities != nil && t.digester != nil {
		for name, was := range e.identities {
			same = same && t.identity(name) == was
		}
	} else {
		var err error
		if same, err = e.sameContent(t, dir); err != nil {
			return nil, false, err
		}
	}
	if !same {
		return nil, false, nil
	}
	same, err := v.same(ctx, e.values)
	return e, same, err
}

// sameContent reads what was read before and compares.
func (e *entry) sameContent(t *tree, dir string) (bool, error) {
	files, wrong, err := t.files(dir)
	if err != nil || len(wrong) > 0 || !slices.Equal(e.files, files) {
		return false, err
	}
	for name, was := range e.reads {
		_, _, err := t.file(name)
		var no refused
		if errors.As(err, &no) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if t.digests[name] != was {
			return false, nil
		}
	}
	return true, nil
}

// identify notes the tree's own digests of what was read outside of the folder.
func (e *entry) identify(t *tree, dir string) {
	if t.digester == nil {
		return
	}
	e.identities = map[string]string{}
	for name := range e.reads {
		if dir != "." && !strings.HasPrefix(name, dir+"/") {
			e.identities[name] = e.reads[name]
		}
	}
}

// put keeps an entry. Objects that another entry holds, too, are not to be counted again.
func (c *cache) put(e *entry, counted map[*unstructured.Unstructured]bool) {
	e.cost = int64(len(e.key)) + 200*int64(len(e.reads)+len(e.problems)+len(e.desired.Objects))
	for _, o := range e.desired.Objects {
		if !counted[o.Unstructured] {
			e.cost += cost(o.Object) + 64*int64(len(o.Origin.FieldLines))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[e.key]; old != nil {
		c.drop(old)
	}
	c.entries[e.key] = c.order.PushFront(e)
	c.cost += e.cost
	for c.cost > maxCached {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(at *list.Element) {
	e := c.order.Remove(at).(*entry)
	delete(c.entries, e.key)
	c.cost -= e.cost
}

// cost is about how many bytes a value takes.
func cost(v any) int64 {
	switch v := v.(type) {
	case string:
		return 16 + int64(len(v))
	case []any:
		n := int64(24)
		for _, one := range v {
			n += 16 + cost(one)
		}
		return n
	case map[string]any:
		n := int64(64)
		for k, one := range v {
			n += 48 + int64(len(k)) + cost(one)
		}
		return n
	}
	return 8
}
