package reconciler

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/live"
)

// trustFor is how long it is believed that nothing moved because no watch said so. Then
// every object is compared once more.
const trustFor = time.Hour

// memory is what is known of each Application beyond live state, to save work. It starts
// empty in every process, and nothing is lost with it.
type memory struct {
	mu   sync.RWMutex
	apps map[types.NamespacedName]*known // guarded by mu
	// heads are the revisions of which the Applications were told.
	heads map[types.NamespacedName]head // guarded by mu
}

// known is what is known of one Application.
type known struct {
	mu sync.Mutex // guards what follows
	// verdicts say of each object with what it was last found, or made, equal.
	verdicts map[inventoryRef]verdict
	// since is when the oldest of the verdicts may have been found.
	since time.Time
	// render and hashes spare hashing the same render again.
	render string
	hashes []live.Hash
	// owned is the sum of the references that the packed inventory lists.
	packed string
	owned  uint64
	// began is the record that this process announced last, in the look that started at
	// beganAt; wrote is the one that it wrote last.
	began   string
	beganAt time.Time
	wrote   string
	// same are two commits that differ in nothing that the Application depends on.
	same pair
	// contests are the objects that somebody else changes again and again; due is when the
	// first of them is to be put back.
	contests map[inventoryRef]contest
	due      time.Duration
	lastLook
}

// verdict: comparing the object with this hash with what was live at this version found
// nothing to do.
type verdict struct {
	hash    live.Hash
	version int64
}

func newMemory() *memory {
	return &memory{apps: map[types.NamespacedName]*known{}, heads: map[types.NamespacedName]head{}}
}

// of is what is known of an Application.
func (m *memory) of(app types.NamespacedName) *known {
	m.mu.RLock()
	k := m.apps[app]
	m.mu.RUnlock()
	if k != nil {
		return k
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k = m.apps[app]; k == nil {
		k = &known{verdicts: map[inventoryRef]verdict{}}
		m.apps[app] = k
	}
	return k
}

func (m *memory) forget(app types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.apps, app)
}

// hashesOf are the hashes of a render's objects, in their order.
func (k *known) hashesOf(want api.Desired) []live.Hash {
	k.mu.Lock()
	if want.Hash != "" && k.render == want.Hash && len(k.hashes) == len(want.Objects) {
		defer k.mu.Unlock()
		return k.hashes
	}
	k.mu.Unlock()
	hashes := make([]live.Hash, len(want.Objects))
	onAllCores(len(hashes), func(i int) { hashes[i] = live.HashOf(want.Objects[i].Object) })
	k.mu.Lock()
	defer k.mu.Unlock()
	k.render, k.hashes = want.Hash, hashes
	return hashes
}

// expire drops verdicts that are too old to be believed without a look.
func (k *known) expire(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.since) > trustFor {
		clear(k.verdicts)
		k.since = now
	}
}

// holds says whether an object still is as the verdict on it says.
func (k *known) holds(x *live.Index, ref inventoryRef, hash live.Hash) bool {
	k.mu.Lock()
	v, ok := k.verdicts[ref]
	k.mu.Unlock()
	if !ok || v.hash != hash {
		return false
	}
	s := x.Of(ref.GroupKind(), ref.key())
	return s.Known && s.Changed <= v.version
}

// equal notes that an object is as desired, as of a resourceVersion.
func (k *known) equal(ref inventoryRef, hash live.Hash, resourceVersion string) {
	if version, ok := live.Version(resourceVersion); ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.verdicts[ref] = verdict{hash: hash, version: version}
	}
}

// keepOnly drops the verdicts on objects that are not among refs.
func (k *known) keepOnly(refs []inventoryRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.verdicts) <= len(refs) {
		return
	}
	keep := make(map[inventoryRef]verdict, len(refs))
	for _, ref := range refs {
		if v, ok := k.verdicts[ref]; ok {
			keep[ref] = v
		}
	}
	k.verdicts = keep
}
