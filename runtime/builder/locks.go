package builder

import "sync"

// locks are locks by name.
type locks struct {
	mu    sync.Mutex // guards named
	named map[string]*sync.RWMutex
}

func (l *locks) of(name string) *sync.RWMutex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.named == nil {
		l.named = map[string]*sync.RWMutex{}
	}
	if l.named[name] == nil {
		l.named[name] = &sync.RWMutex{}
	}
	return l.named[name]
}
