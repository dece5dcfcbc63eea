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
	"unique"

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
	claim Claim
}

// Claim says who answers for an object that no other object owns: a name, or the empty name
// for nobody; false: somebody else does.
type Claim func(schema.GroupKind, client.Object) (types.NamespacedName, bool)

// NewIndex knows nothing yet. Without a Claim it knows of nobody who answers for objects.
func NewIndex(claim Claim) *Index {
	return &Index{kinds: map[schema.GroupKind]*kind{}, seed: maphash.MakeSeed(), claim: claim}
}

// kind is what is known of one kind; guarded by the Index's mu.
type kind struct {
	// synced: everything up to seen is known.
	synced bool
	seen   int64
	// moved is the newest version at which any object changed.
	moved   int64
	objects objects
}

// objects are what is known of a kind's objects, by namespace and name.
type objects map[string]map[string]entry

func (o objects) put(name types.NamespacedName, e entry) {
	in := o[name.Namespace]
	if in == nil {
		in = map[string]entry{}
		o[name.Namespace] = in
	}
	in[name.Name] = e
}

func (o objects) of(name types.NamespacedName) (entry, bool) {
	e, ok := o[name.Namespace][name.Name]
	return e, ok
}

func (o objects) drop(name types.NamespacedName) {
	delete(o[name.Namespace], name.Name)
	if len(o[name.Namespace]) == 0 {
		delete(o, name.Namespace)
	}
}

type entry struct {
	// version is the newest one; changed the one at which something last changed that an
	// apply could see: everything but the status.
	version, changed int64
	// mark identifies what an apply can see.
	mark uint64
	// claimed: owner answers for it, whom nobody is where the name is empty.
	claimed bool
	owner   unique.Handle[types.NamespacedName]
}

// Feed is the kind's loop.Observer.
func (x *Index) Feed(gk schema.GroupKind) *Feed {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kinds[gk] == nil {
		x.kinds[gk] = &kind{objects: objects{}}
	}
	return &Feed{x, gk, x.kinds[gk]}
}

// Feed tells an Index what a watch sees of one kind.
type Feed struct {
	index *Index
	gk    schema.GroupKind
	kind  *kind
}

// Listed replaces what was known up to a resourceVersion.
func (f *Feed) Listed(all []client.Object, resourceVersion string) {
	rev, ok := Version(resourceVersion)
	if !ok {
		return
	}
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	k := f.kind
	old := k.objects
	k.objects = objects{}
	for _, o := range all {
		f.put(client.ObjectKeyFromObject(o), o, old)
	}
	for namespace, in := range old {
		for name, e := range in {
			key := types.NamespacedName{Namespace: namespace, Name: name}
			if _, listed := k.objects.of(key); !listed && e.version > rev {
				// Made after the list was read.
				k.objects.put(key, e)
			} else if !listed {
				k.moved = max(k.moved, rev)
			}
		}
	}
	k.synced, k.seen = true, rev
}

func (f *Feed) put(name types.NamespacedName, o client.Object, old objects) {
	version, ok := Version(o.GetResourceVersion())
	if !ok {
		f.kind.synced = false
		return
	}
	was, known := old.of(name)
	// What this process wrote may be ahead of the event.
	now := entry{version: max(version, was.version), changed: version, mark: f.index.markOf(o)}
	if known && was.mark == now.mark {
		now.changed = was.changed
	} else {
		f.kind.moved = max(f.kind.moved, version)
	}
	if f.index.claim != nil {
		var owner types.NamespacedName
		if owner, now.claimed = f.index.claim(f.gk, o); now.claimed {
			now.owner = unique.Make(owner)
		}
	}
	f.kind.objects.put(name, now)
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
	if e, _ := k.objects.of(name); e.version <= version {
		k.objects.drop(name)
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
	if e, known := k.objects.of(name); !known {
		k.objects.put(name, entry{version: version, changed: version})
	} else if e.version < version {
		e.version = version
		k.objects.put(name, e)
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
	e, ok := k.objects.of(name)
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

// Followed says that kinds are followed without a gap.
func (x *Index) Followed(kinds ...schema.GroupKind) bool {
	_, ok := x.Moved(kinds...)
	return ok
}

// Names are the objects of a kind in a namespace, in no order.
func (x *Index) Names(gk schema.GroupKind, namespace string) []types.NamespacedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []types.NamespacedName
	if k := x.kinds[gk]; k != nil {
		for name := range k.objects[namespace] {
			out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	return out
}

// Everywhere are the objects of a kind in all namespaces, in no order.
func (x *Index) Everywhere(gk schema.GroupKind) []types.NamespacedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []types.NamespacedName
	if k := x.kinds[gk]; k != nil {
		for namespace, objects := range k.objects {
			for name := range objects {
				out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
			}
		}
	}
	return out
}

// Unclaimed calls suspect for the objects of a kind in a namespace that nobody answers for:
// whose owner is nobody, or no object of the kind that owners are. Nothing else is walked.
func (x *Index) Unclaimed(owners, gk schema.GroupKind, namespace string, suspect func(types.NamespacedName)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var owning objects
	if k := x.kinds[owners]; k != nil {
		owning = k.objects
	}
	k := x.kinds[gk]
	if k == nil {
		return
	}
	for name, e := range k.objects[namespace] {
		if !e.claimed {
			continue
		}
		if _, there := owning.of(e.owner.Value()); !there {
			suspect(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
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
