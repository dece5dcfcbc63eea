package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// Pool keeps children ready, as many as may work at the same time; each that waits holds
// a few tens of megabytes.
type Pool struct {
	exe    []string
	env    []string
	limits Limits
	log    *slog.Logger
	slots  chan struct{}
	warned sync.Once
	starts sync.WaitGroup

	mu     sync.Mutex
	idle   []*Worker // guarded by mu
	closed bool      // guarded by mu
}

// maxJobs is after how many jobs a child is replaced, so that nothing adds up.
const maxJobs = 5000

var errClosed = errors.New("the renderer is closed")

// NewPool starts the first child in the background. Exe is the command that becomes a
// child, env its whole environment beside its limits.
func NewPool(exe, env []string, workers int, l Limits, log *slog.Logger) *Pool {
	p := &Pool{exe: exe, env: env, limits: l.WithDefaults(), log: log, slots: make(chan struct{}, max(workers, 1))}
	p.prestart()
	return p
}

// prestart puts one more child in the idle list.
func (p *Pool) prestart() {
	p.starts.Add(1)
	go func() {
		defer p.starts.Done()
		w, err := p.start()
		if err != nil {
			p.log.Error("cannot start a render child", "error", err)
			return
		}
		p.put(w)
	}()
}

func (p *Pool) start() (*Worker, error) {
	w, err := start(p.exe, p.env, p.limits)
	if err == nil && w.Unconfined != "" {
		p.warned.Do(func() { p.log.Warn("render children are not fully confined on this machine", "missing", w.Unconfined) })
	}
	return w, err
}

// Get waits for a free slot and hands out a child, to be given back with Put.
func (p *Pool) Get(ctx context.Context) (*Worker, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w, err := p.take()
	if err != nil {
		<-p.slots
	}
	return w, err
}

// Replace ends a child whose job killed it and hands out another in its slot. On an
// error the slot is free again.
func (p *Pool) Replace(w *Worker) (*Worker, error) {
	w.Close()
	next, err := p.take()
	if err != nil {
		<-p.slots
	}
	return next, err
}

func (p *Pool) take() (*Worker, error) {
	p.mu.Lock()
	closed := p.closed
	var w *Worker
	for len(p.idle) > 0 && w == nil {
		w = p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		select {
		case <-w.exited:
			w.Close()
			w = nil
		default:
		}
	}
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if w != nil {
		return w, nil
	}
	return p.start()
}

// Put gives a child back. A worn or broken one is replaced in the background.
func (p *Pool) Put(w *Worker) {
	defer func() { <-p.slots }()
	if w.broken || w.jobs >= maxJobs {
		w.Close()
		p.mu.Lock()
		bare := len(p.idle) == 0 && !p.closed
		p.mu.Unlock()
		if bare {
			p.prestart()
		}
		return
	}
	p.put(w)
}

func (p *Pool) put(w *Worker) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < cap(p.slots)
	if keep {
		p.idle = append(p.idle, w)
	}
	p.mu.Unlock()
	if !keep {
		w.Close()
	}
}

// Close ends the children, those at work included as soon as their job is done.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, w := range idle {
		w.Close()
	}
	p.starts.Wait()
}
