package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// rest is how long an address that was given back is not given out again while there is
// another one: what still sends to it must not reach a stranger.
const rest = 2 * time.Minute

// lease is one pod's address, and where it was attached.
type lease struct {
	Address netip.Addr `json:"address"`
	// PID and Namespace (the inode of its network namespace) find the sandbox again.
	PID       int    `json:"pid,omitempty"`
	Namespace uint64 `json:"namespace,omitempty"`
	// Ports of the node that lead to the pod.
	Ports []api.HostPort `json:"ports,omitempty"`
}

func (l lease) equal(o lease) bool {
	return l.Address == o.Address && l.PID == o.PID && l.Namespace == o.Namespace && slices.Equal(l.Ports, o.Ports)
}

// book is the file's content.
type book struct {
	Subnet netip.Prefix         `json:"subnet"`
	Leases map[string]lease     `json:"leases"`
	Freed  map[string]time.Time `json:"freed,omitempty"`
	Last   netip.Addr           `json:"last"`
	// ForwardWas is net.ipv4.ip_forward before the first Up.
	ForwardWas string `json:"forwardWas,omitempty"`
}

// leases gives out the addresses of a subnet, one after the other, and writes every
// change to a file before it takes effect.
type leases struct {
	file  string
	clock func() time.Time

	mu   sync.Mutex
	book book // guarded by mu
}

// load reads the file. A file that is not there is an empty book; one that cannot be read is an error.
func (l *leases) load() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book = book{Leases: map[string]lease{}, Freed: map[string]time.Time{}}
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &l.book); err != nil {
		return fmt.Errorf("%s: %w", l.file, err)
	}
	if l.book.Leases == nil {
		l.book.Leases = map[string]lease{}
	}
	if l.book.Freed == nil {
		l.book.Freed = map[string]time.Time{}
	}
	return nil
}

// change writes the changed book, and keeps the old one if it cannot be written.
func (l *leases) change(edit func(*book) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.book
	next.Leases, next.Freed = maps.Clone(l.book.Leases), maps.Clone(l.book.Freed)
	if err := edit(&next); err != nil {
		return err
	}
	data, err := json.MarshalIndent(next, "", "\t")
	if err != nil {
		return err
	}
	if err := writeFile(l.file, data); err != nil {
		return err
	}
	l.book = next
	return nil
}

// writeFile replaces a file so that after a crash it is the old one or the new one.
func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// take is the pod's address: the one it has, or a new one.
func (l *leases) take(pod types.NamespacedName) (lease, error) {
	if have, ok := l.of(pod); ok {
		return have, nil
	}
	var out lease
	err := l.change(func(b *book) error {
		a, err := b.next(l.clock())
		out = lease{Address: a}
		b.Leases[pod.String()], b.Last = out, a
		delete(b.Freed, a.String())
		return err
	})
	return out, err
}

// next is the next free address after the last one given out; the one that is free for
// the longest time if all were used lately.
func (b *book) next(now time.Time) (netip.Addr, error) {
	used := map[netip.Addr]bool{}
	for _, l := range b.Leases {
		used[l.Address] = true
	}
	first := b.Subnet.Addr().Next().Next()
	a, oldest := b.Last, netip.Addr{}
	for range 1 << (32 - b.Subnet.Bits()) {
		if a = a.Next(); !b.Subnet.Contains(a) || !b.Subnet.Contains(a.Next()) || a.Less(first) {
			a = first
		}
		if used[a] {
			continue
		}
		freed, was := b.Freed[a.String()]
		if !was || now.Sub(freed) >= rest {
			return a, nil
		}
		if !oldest.IsValid() || freed.Before(b.Freed[oldest.String()]) {
			oldest = a
		}
	}
	if !oldest.IsValid() {
		return oldest, fmt.Errorf("all %d addresses of subnet %s are taken", len(used), b.Subnet)
	}
	return oldest, nil
}

func (l *leases) put(pod types.NamespacedName, want lease) error {
	if have, ok := l.of(pod); ok && have.equal(want) {
		return nil
	}
	return l.change(func(b *book) error {
		b.Leases[pod.String()] = want
		return nil
	})
}

func (l *leases) free(pod types.NamespacedName) error {
	return l.change(func(b *book) error {
		now := l.clock()
		for a, at := range b.Freed {
			if now.Sub(at) >= rest {
				delete(b.Freed, a)
			}
		}
		b.Freed[b.Leases[pod.String()].Address.String()] = now
		delete(b.Leases, pod.String())
		return nil
	})
}

func (l *leases) of(pod types.NamespacedName) (lease, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.book.Leases[pod.String()]
	return have, ok
}

func (l *leases) all() map[string]lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.book.Leases)
}

func (l *leases) remembered() (subnet netip.Prefix, forwardWas string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.Subnet, l.book.ForwardWas
}
