package live

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Index knows of every object of the kinds that feed it when it last moved. It may lag
// behind live state; what it says was true a moment ago, and the event that says more is
// on its way to whoever watches.
type Index struct {
	mu    sync.RWMutex
	kinds map[schema.GroupKind]*kind // guarded by mu
	seed  maphash.Seed
}

// NewIndex knows nothing yet.
func NewIndex() *Index {
	return &Index{kinds: map[schema.GroupKind]*kind{}, seed: maphash.MakeSeed()}
}

// kind is what is known of one kind; guarded by the Index's mu.
type kind struct {
	// synced: everything up to seen is known.
	synced bool
	seen   int64
	// moved is the newest version at which any object changed.
	moved   int64
	objects map[types.NamespacedName]entry
}

type entry struct {
	// version is the newest one; changed the one at which something last changed that an
	// apply could see: everything but the status.
	version, changed int64
	// mark identifies what an apply can see.
	mark uint64
}

// Feed is the kind's loop.Observer.
func (x *Index) Feed(gk schema.GroupKind) *Feed {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kinds[gk] == nil {
		x.kinds[gk] = &kind{objects: map[types.NamespacedName]entry{}}
	}
	return &Feed{x, x.kinds[gk]}
}

// Feed tells an Index what a watch sees of one kind.
type Feed struct {
	index *Index
	kind  *kind
}

// Listed replaces what was known up to a resourceVersion.
func (f *Feed) Listed(objects []client.Object, resourceVersion string) {
	rev, ok := Version(resourceVersion)
	if !ok {
		return
	}
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	k := f.kind
	old := k.objects
	k.objects = make(map[types.NamespacedName]entry, len(objects))
	for _, o := range objects {
		f.put(client.ObjectKeyFromObject(o), o, old)
	}
	for name, e := range old {
		if _, listed := k.objects[name]; !listed && e.version > rev {
			// Made after the list was read.
			k.objects[name] = e
		} else if !listed {
			k.moved = max(k.moved, rev)
		}
	}
	k.synced, k.seen = true, rev
}

func (f *Feed) put(name types.NamespacedName, o client.Object, old map[types.NamespacedName]entry) {
	version, ok := Version(o.GetResourceVersion())
	if !ok {
		f.kind.synced = false
		return
	}
	was, known := old[name]
	// What this process wrote may be ahead of the event.
	now := entry{version: max(version, was.version), changed: version, mark: f.index.markOf(o)}
	if known && was.mark == now.mark {
		now.changed = was.changed
	} else {
		f.kind.moved = max(f.kind.moved, version)
	}
	f.kind.objects[name] = now
}

// Saw is one event.
func (f *Feed) Saw(event watch.EventType, o client.Object) {
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	name, k := client.ObjectKeyFromObject(o), f.kind
	version, ok := Version(o.GetResourceVersion())
	if !ok {
		k.synced = false
		return
	}
	k.seen = max(k.seen, version)
	if event != watch.Deleted {
		f.put(name, o, k.objects)
		return
	}
	if k.objects[name].version <= version {
		delete(k.objects, name)
		k.moved = max(k.moved, version)
	}
}

// Lost says that events are missed from now on.
func (f *Feed) Lost() {
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	f.kind.synced = false
}

// Wrote notes what this process wrote, ahead of the event that says so.
func (x *Index) Wrote(gk schema.GroupKind, name types.NamespacedName, version int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := x.kinds[gk]
	// Of what lies before the newest event the end may have been seen already.
	if k == nil || version < k.seen {
		return
	}
	if e, known := k.objects[name]; !known {
		k.objects[name] = entry{version: version, changed: version}
	} else if e.version < version {
		e.version = version
		k.objects[name] = e
	}
}

// Standing is what the Index knows of an object.
type Standing struct {
	// Known: the object exists, and its kind is followed without a gap.
	Known bool
	// Version is the newest resourceVersion, Changed the one at which it last changed in
	// anything but its status.
	Version, Changed int64
}

// Of says where an object stands.
func (x *Index) Of(gk schema.GroupKind, name types.NamespacedName) Standing {
	x.mu.RLock()
	defer x.mu.RUnlock()
	k := x.kinds[gk]
	if k == nil || !k.synced {
		return Standing{}
	}
	e, ok := k.objects[name]
	return Standing{Known: ok, Version: e.version, Changed: e.changed}
}

// Moved is the newest resourceVersion at which any object of the kinds changed, appeared or
// vanished; false: one of them is not followed now.
func (x *Index) Moved(kinds ...schema.GroupKind) (int64, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var moved int64
	for _, gk := range kinds {
		k := x.kinds[gk]
		if k == nil || !k.synced {
			return 0, false
		}
		moved = max(moved, k.moved)
	}
	return moved, true
}

// Version reads a resourceVersion as the number that it is in Slipway's own live state.
func Version(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0
}

// markOf hashes what an apply can see of an object without its body: the generation that
// counts the body's changes (of kinds that count none, the version itself), labels,
// annotations, whether it is being deleted, and who owns which fields.
func (x *Index) markOf(o client.Object) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteString(string(o.GetUID()))
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(o.GetGeneration()))
	h.Write(number[:])
	if o.GetGeneration() == 0 {
		h.WriteString(o.GetResourceVersion())
	}
	for _, m := range []map[string]string{o.GetLabels(), o.GetAnnotations()} {
		h.WriteByte(1)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			h.WriteString(k)
			h.WriteByte(0)
			h.WriteString(m[k])
			h.WriteByte(0)
		}
	}
	if o.GetDeletionTimestamp() != nil {
		h.WriteByte(2)
	}
	// The object is not this reader's own.
	entries := slices.Clone(o.GetManagedFields())
	slices.SortStableFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(strings.Compare(a.Manager, b.Manager), strings.Compare(string(a.Operation), string(b.Operation)))
	})
	for _, e := range entries {
		if e.Subresource == "status" {
			continue
		}
		h.WriteByte(3)
		h.WriteString(e.Manager)
		h.WriteString(string(e.Operation))
		if e.FieldsV1 != nil {
			h.Write(e.FieldsV1.GetRawBytes())
		}
	}
	return h.Sum64()
}
