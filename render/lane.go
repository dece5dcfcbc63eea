package render

import (
	"context"
	"sync"
	"time"
)

// slowAfter is how long a render may keep a child before its application counts as slow.
const slowAfter = 5 * time.Second

// lanes keep applications that were slow, or killed a child, from taking every child:
// together they have all but one. The others' commits never wait for theirs.
type lanes struct {
	slots chan struct{}

	mu   sync.Mutex
	slow map[string]bool // guarded by mu
}

func newLanes(workers int) *lanes {
	return &lanes{slots: make(chan struct{}, max(workers-1, 1)), slow: map[string]bool{}}
}

// enter waits until the application may have a child; leave is to be called afterwards.
func (l *lanes) enter(ctx context.Context, application string) (leave func(slow bool), err error) {
	l.mu.Lock()
	was := l.slow[application]
	l.mu.Unlock()
	if was {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func(slow bool) {
		if was {
			<-l.slots
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if slow {
			l.slow[application] = true
		} else {
			delete(l.slow, application)
		}
	}, nil
}
