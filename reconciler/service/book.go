package service

import (
	"net/netip"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// book knows which service has which address, as far as the watch has told: no service has
// to be listed to give another one its address. It lags behind live state, but never behind
// the event by which a service was last heard of.
type book struct {
	mu sync.Mutex
	// open: nothing is missed; guarded by mu
	open bool
	// of is what each service was last heard to have, at each address's holders; guarded by mu
	of map[loop.Key]holding
	at map[netip.Addr]map[loop.Key]bool
}

// holding is a service's address, if it has one, and the version of the service of which the
// watch told last.
type holding struct {
	ip      netip.Addr
	version int64
}

func newBook() *book {
	return &book{of: map[loop.Key]holding{}, at: map[netip.Addr]map[loop.Key]bool{}}
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
		b.note(key, netip.Addr{})
		delete(b.of, key)
		return
	}
	ip, _ := addressOf(s)
	version, _ := strconv.ParseInt(s.ResourceVersion, 10, 64)
	b.note(key, ip)
	b.of[key] = holding{ip, version}
}

// note moves a service to an address.
func (b *book) note(key loop.Key, ip netip.Addr) {
	was := b.of[key]
	if delete(b.at[was.ip], key); len(b.at[was.ip]) == 0 {
		delete(b.at, was.ip)
	}
	b.of[key] = holding{ip, was.version}
	if !ip.IsValid() {
		return
	}
	if b.at[ip] == nil {
		b.at[ip] = map[loop.Key]bool{}
	}
	b.at[ip][key] = true
}

// gave notes an address ahead of the event that says so.
func (b *book) gave(key loop.Key, ip netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(key, ip)
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

// taken says whether any service has an address.
func (b *book) taken(ip netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.at[ip]) > 0
}

// holders are the services that have an address.
func (b *book) holders(ip netip.Addr) []loop.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []loop.Key
	for key := range b.at[ip] {
		out = append(out, key)
	}
	return out
}
