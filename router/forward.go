package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxAttempts is how many endpoints a request is offered to.
const maxAttempts = 5

var (
	errNoEndpoints = errors.New("the route has no endpoints")
	errStalled     = errors.New("the backend made no progress within the route's timeout")
)

// forward carries requests to backends. It is the transport of the reverse proxy.
type forward struct {
	scheduler *scheduler
	// again looks the rule up in the table of the moment: between two attempts the
	// endpoints may have changed.
	again func(*Rule) *Rule
	now   func() time.Time
}

// journey is what the proxy knows of a request; it travels in its context.
type journey struct {
	rule   *Rule
	client netip.Addr
	cookie string
	// backend that answered.
	backend *backend
	retries int
}

type journeyKey struct{}

// RoundTrip implements http.RoundTripper. A request is offered to another endpoint
// while it is certain that none has acted on it, or that acting twice does no harm.
func (f *forward) RoundTrip(req *http.Request) (*http.Response, error) {
	j := req.Context().Value(journeyKey{}).(*journey)
	c := choice{client: j.client, cookie: j.cookie}
	body := &offeredBody{body: req.Body}
	failed := errNoEndpoints
	for attempt := range maxAttempts {
		c.now = f.now()
		b := f.scheduler.pickAgain(&j.rule, f.again, c)
		if b == nil {
			break
		}
		if attempt > 0 {
			j.retries++
		}
		resp, retry, err := f.attempt(req, b, j.rule.Timeout, body)
		if err == nil {
			j.backend = b
			return resp, nil
		}
		if isDial(err) && req.Context().Err() == nil {
			b.eject(f.now())
		}
		b.release()
		failed = err
		if !retry || req.Context().Err() != nil {
			break
		}
		c.tried = append(c.tried, b.addr)
	}
	return nil, failed
}

// attempt offers the request to one backend. retry says that another one may be asked.
func (f *forward) attempt(req *http.Request, b *backend, timeout time.Duration, body *offeredBody) (resp *http.Response, retry bool, err error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	stalled := time.AfterFunc(timeout, func() { cancel(errStalled) })
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { wrote.Store(true) },
	})
	out := req.WithContext(ctx)
	url := *req.URL
	url.Scheme, url.Host = "http", b.addr.String()
	if b.tls != "" {
		url.Scheme = "https"
	}
	out.URL = &url
	var offer *offer
	if req.Body != nil && req.Body != http.NoBody {
		offer = body.offer(func() { stalled.Reset(timeout) })
		out.Body = offer
	}
	resp, err = b.transport.RoundTrip(out)
	if err != nil {
		stalled.Stop()
		late := errors.Is(context.Cause(ctx), errStalled)
		cancel(nil)
		if late {
			err = errStalled
		}
		unread := offer == nil || offer.withdraw()
		return nil, unread && !late && (!wrote.Load() || idempotent(req.Method)), err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		stalled.Stop()
		return resp, false, f.upgraded(resp, b, cancel)
	}
	stalled.Stop()
	resp.Body = &answeredBody{body: resp.Body, backend: b, cancel: cancel, stalled: stalled, timeout: timeout}
	return resp, false, nil
}

// upgraded makes the connection of a switched protocol count as long as it lasts.
func (f *forward) upgraded(resp *http.Response, b *backend, cancel context.CancelCauseFunc) error {
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		cancel(nil)
		return errors.New("the backend switched protocols on a connection that cannot be written to")
	}
	resp.Body = &tunnel{ReadWriteCloser: conn, done: sync.OnceFunc(func() { b.release(); cancel(nil) })}
	return nil
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}

// offeredBody is a request's body, which may be offered to several backends until one
// of them begins to read it.
type offeredBody struct {
	body io.ReadCloser
	mu   sync.Mutex
	// started says that something was read; guarded by mu.
	started bool
}

// offer is the body as one backend's connection sees it.
type offer struct {
	of *offeredBody
	// progress is told of everything that is read.
	progress func()
	// withdrawn is guarded by of.mu.
	withdrawn bool
}

func (o *offeredBody) offer(progress func()) *offer { return &offer{of: o, progress: progress} }

var errWithdrawn = errors.New("the request went to another backend")

func (o *offer) Read(p []byte) (int, error) {
	o.of.mu.Lock()
	if o.withdrawn {
		o.of.mu.Unlock()
		return 0, errWithdrawn
	}
	o.of.started = true
	o.of.mu.Unlock()
	n, err := o.of.body.Read(p)
	o.progress()
	return n, err
}

// Close leaves the body open: it is the server's, and may be offered again.
func (o *offer) Close() error { return nil }

// withdraw ends the offer; it reports whether nothing was read.
func (o *offer) withdraw() bool {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	o.withdrawn = true
	return !o.of.started
}

// answeredBody ends the use of the backend when the response has been read. The time
// during which the backend is waited for is bounded; that of a slow client is not its
// doing.
type answeredBody struct {
	body    io.ReadCloser
	backend *backend
	cancel  context.CancelCauseFunc
	stalled *time.Timer
	timeout time.Duration
	closed  atomic.Bool
}

func (a *answeredBody) Read(p []byte) (int, error) {
	a.stalled.Reset(a.timeout)
	n, err := a.body.Read(p)
	a.stalled.Stop()
	return n, err
}

func (a *answeredBody) Close() error {
	if a.closed.Swap(true) {
		return nil
	}
	a.stalled.Stop()
	err := a.body.Close()
	a.cancel(nil)
	a.backend.release()
	return err
}

type tunnel struct {
	io.ReadWriteCloser
	done func()
}

func (t *tunnel) Close() error {
	defer t.done()
	return t.ReadWriteCloser.Close()
}
