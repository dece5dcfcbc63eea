package service

import (
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// book knows which service holds which claims, as far as the watch has told: no service has
// to be listed to give another one its address or port. It lags behind live state, but never behind
// the event by which a service was last heard of.
type book struct {
	mu sync.Mutex
	// open: nothing is missed; guarded by mu
	open bool
	// of is what each service was last heard to have, at each claim's holders; guarded by mu
	of map[loop.Key]holding
	at map[claim]map[loop.Key]bool
}

// holding is what a service claims, and the version of the service of which the watch told
// last.
type holding struct {
	claims  []claim
	version int64
}

func newBook() *book {
	return &book{of: map[loop.Key]holding{}, at: map[claim]map[loop.Key]bool{}}
}

// Listed implements loop.Observer.
func (b *book) Listed(objects []client.Object, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
	clear(b.of)
	clear(b.at)
	for _, o := range objects {
		b.heard(watch.Added, o)
	}
}

// Saw implements loop.Observer.
func (b *book) Saw(event watch.EventType, o client.Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard(event, o)
}

// Lost implements loop.Observer.
func (b *book) Lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = false
}

func (b *book) heard(event watch.EventType, o client.Object) {
	s, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	key := client.ObjectKeyFromObject(s)
	if event == watch.Deleted {
		b.note(key, nil)
		delete(b.of, key)
		return
	}
	version, _ := strconv.ParseInt(s.ResourceVersion, 10, 64)
	claims := claimsOf(s)
	b.note(key, claims)
	b.of[key] = holding{claims, version}
}

// note replaces what a service claims.
func (b *book) note(key loop.Key, claims []claim) {
	was := b.of[key]
	for _, c := range was.claims {
		if delete(b.at[c], key); len(b.at[c]) == 0 {
			delete(b.at, c)
		}
	}
	b.of[key] = holding{claims, was.version}
	for _, c := range claims {
		if b.at[c] == nil {
			b.at[c] = map[loop.Key]bool{}
		}
		b.at[c][key] = true
	}
}

// gave notes what a service claims ahead of the event that says so.
func (b *book) gave(s *corev1.Service) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(client.ObjectKeyFromObject(s), claimsOf(s))
}

// knows says that the watch has told of a service as it is at a resourceVersion, and with
// it of all that was written before. Of two services that one transaction wrote, the one of
// which it tells later is known later, together with the other.
func (b *book) knows(key loop.Key, resourceVersion string) bool {
	version, err := strconv.ParseInt(resourceVersion, 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	return err == nil && b.open && version <= b.of[key].version
}

// taken says whether any service has a claim.
func (b *book) taken(c claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.at[c]) > 0
}

// holders are the services that have a claim.
func (b *book) holders(c claim) []loop.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []loop.Key
	for key := range b.at[c] {
		out = append(out, key)
	}
	return out
}
