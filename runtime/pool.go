package runtime

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/state/loop"
)

// pool holds sandboxes that are ready before there is a pod for them. A pod takes one for
// good: it is never given back, so that nothing of a pod reaches another one. Which sandbox
// is whose is written into the pod's directory before it is used; one that no pod has
// written down is free.
type pool struct {
	mu     sync.Mutex
	ready  []idle            // guarded by mu, oldest first
	owners map[string]owner  // guarded by mu: whose they are, by container id
	names  map[string]string // guarded by mu: what they are to be called in Docker, by id
	wake   chan struct{}
}

// idle is a sandbox that waits for a pod.
type idle struct {
	id  string
	pid int
	// namespace is the inode of its network namespace: what tells its process from a
	// later one of the same number.
	namespace uint64
}

type owner struct {
	key loop.Key
	uid types.UID
}

func newPool() pool {
	return pool{owners: map[string]owner{}, names: map[string]string{}, wake: make(chan struct{}, 1)}
}

// poke has the pool looked at.
func (p *pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default: // It is to be already.
	}
}

// take gives a pod a sandbox, if there is one. It is the pod's from now on.
func (p *pool) take(o owner, name string) (idle, bool) {
	defer p.poke()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > 0 {
		s := p.ready[0]
		p.ready = p.ready[1:]
		if namespace, err := netNamespace(s.pid); err == nil && namespace == s.namespace {
			p.owners[s.id], p.names[s.id] = o, name
			return s, true
		}
	}
	return idle{}, false
}

// owner is who has a sandbox of the pool.
func (p *pool) owner(id string) (owner, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, found := p.owners[id]
	return o, found
}

// own notes whose a sandbox is.
func (p *pool) own(id string, o owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners[id] = o
}

// drop forgets a sandbox that is no more.
func (p *pool) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.owners, id)
	delete(p.names, id)
	if i := slices.IndexFunc(p.ready, func(s idle) bool { return s.id == id }); i >= 0 {
		p.ready = slices.Delete(p.ready, i, i+1)
		p.poke()
	}
}

// add takes a sandbox in, if there are fewer than most.
func (p *pool) add(s idle, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) >= most {
		return false
	}
	p.ready = append(p.ready, s)
	return true
}

// has says whether a sandbox waits in the pool or has an owner.
func (p *pool) has(id string) (waits, owned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, owned = p.owners[id]
	return slices.ContainsFunc(p.ready, func(s idle) bool { return s.id == id }), owned
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready)
}

func netNamespace(pid int) (uint64, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return 0, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("process %d: no inode", pid)
	}
	return s.Ino, nil
}
