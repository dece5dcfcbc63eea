package reconciler

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/health"
	"slipway.dev/slipway/state/loop"
)

// pulse is the health of the objects of all kinds, as their watches saw it last. That may
// be of a moment ago, so it is only good for saying that something is still in progress:
// whenever it no longer is, an event comes, and wakes whoever believed it.
type pulse map[schema.GroupKind]*beat

// of is an object's health as it was seen last; false: it is not known.
func (p pulse) of(ref inventoryRef) (health.Health, bool) {
	b := p[ref.GroupKind()]
	if b == nil {
		return health.Health{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	h, known := b.seen[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
	return h, known
}

// progress is the examination of objects of which some are on their way and none has
// failed; false: there is nothing to be said without reading them.
func (p pulse) progress(refs []inventoryRef) (e examination, ok bool) {
	for _, ref := range refs {
		h, known := p.of(ref)
		switch {
		case !known || h.State == health.Current:
		case h.State == health.InProgress || h.State == health.Terminating:
			e.add(ref, h)
		default:
			return e, false
		}
	}
	return e, len(e.sick) > 0
}

// beat observes one kind. It keeps the health of the objects that somebody owns.
type beat struct {
	mu   sync.RWMutex
	seen map[types.NamespacedName]health.Health // guarded by mu
	// same says that the event that was seen last changed the health of nothing that
	// somebody owns. Only the watch itself asks.
	same bool
}

func (b *beat) Listed(objects []client.Object, _ string) {
	b.mu.Lock()
	b.seen = make(map[types.NamespacedName]health.Health, len(objects))
	b.mu.Unlock()
	for _, o := range objects {
		b.Saw(watch.Added, o)
	}
}

func (b *beat) Saw(event watch.EventType, o client.Object) {
	key := client.ObjectKeyFromObject(o)
	u, ok := o.(*unstructured.Unstructured)
	owned := o.GetLabels()[OwnerName] != ""
	var now health.Health
	if ok && owned && event != watch.Deleted {
		now = health.Of(u)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	last, known := b.seen[key]
	if !ok || !owned || event == watch.Deleted {
		delete(b.seen, key)
		b.same = !owned
		return
	}
	b.same = known && last == now
	if b.seen != nil {
		b.seen[key] = now
	}
}

func (b *beat) Lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = nil
}

func (b *beat) skip(watch.EventType, client.Object) bool { return b.same }

var _ loop.Observer = &beat{}
