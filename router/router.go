package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Name is how the router signs the status of Routes.
const Name = "slipway"

// Options are what a Router is made of.
type Options struct {
	// Client reads Routes, Services and Endpoints, and writes the status of Routes.
	Client client.WithWatch
	// HTTP and HTTPS are the addresses to listen on; empty for none, port 0 for any.
	HTTP  string
	HTTPS string
	// Suffix is the domain of generated hosts, e.g. `apps.example.com`; without it a
	// Route has to name its host.
	Suffix string
	// AllowWildcards admits Routes with wildcardPolicy Subdomain.
	AllowWildcards bool
	// Certificate is shown for hosts without one of their own; nil: a self-signed one
	// for the suffix is made at each start.
	Certificate *tls.Certificate
	// Log defaults to slog.Default().
	Log *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

// Router serves Routes.
type Router struct {
	options     Options
	log         *slog.Logger
	now         func() time.Time
	certificate *tls.Certificate
	http, https net.Listener

	// swapMu makes Swap one step for others that swap.
	swapMu    sync.Mutex
	table     atomic.Pointer[Table]
	scheduler *scheduler
	stats     stats
	world     *world
	// followed are the Endpoints' resourceVersions that the table is made of.
	followed atomic.Pointer[map[types.NamespacedName]uint64]
}

// New opens the listeners; connections wait until Serve is called. The table is empty
// until the controllers have run.
func New(o Options) (*Router, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Router{options: o, log: o.Log, now: o.Now, certificate: o.Certificate, scheduler: &scheduler{pools: newPools()}}
	r.world = newWorld(o)
	r.table.Store(newTable(nil))
	if r.certificate == nil {
		var err error
		if r.certificate, err = selfSigned(o.Suffix, o.Now()); err != nil {
			return nil, fmt.Errorf("router: %w", err)
		}
	}
	var err error
	if r.http, err = listen(o.HTTP); err != nil {
		return nil, fmt.Errorf("router: HTTP: %w", err)
	}
	if r.https, err = listen(o.HTTPS); err != nil {
		return nil, errors.Join(fmt.Errorf("router: HTTPS: %w", err), r.Close())
	}
	return r, nil
}

func listen(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	return net.Listen("tcp", address)
}

// Close closes the listeners of a router that is not served.
func (r *Router) Close() error {
	var errs []error
	for _, l := range []net.Listener{r.http, r.https} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// HTTPAddr is where plain HTTP is served; the zero value if it is not.
func (r *Router) HTTPAddr() netip.AddrPort { return addrOf(r.http) }

// HTTPSAddr is where TLS is served; the zero value if it is not.
func (r *Router) HTTPSAddr() netip.AddrPort { return addrOf(r.https) }

func addrOf(l net.Listener) netip.AddrPort {
	if l == nil {
		return netip.AddrPort{}
	}
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Table is the table of the moment. It prints itself.
func (r *Router) Table() *Table { return r.table.Load() }

// Swap makes the proxy route by the table.
func (r *Router) Swap(t *Table) {
	r.swapMu.Lock()
	defer r.swapMu.Unlock()
	r.scheduler.pools.expect(t)
	r.table.Store(t)
	r.scheduler.pools.keep(t)
	r.scheduler.balancers.keep(t)
	r.stats.keep(t)
}

func (r *Router) again(old *Rule) *Rule { return r.Table().byRoute[old.Route] }

// The limits of what clients may do to the router itself.
const (
	headerTimeout  = 10 * time.Second
	clientIdleTime = 75 * time.Second
	maxHeaderBytes = 64 << 10
	drainTime      = 10 * time.Second
)

// Serve serves until ctx ends; then it takes no new connections, gives requests 10 s to
// end, and returns. An error is a listener that failed.
func (r *Router) Serve(ctx context.Context) error {
	handler := newProxy(r)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	serve := func(s *http.Server, l net.Listener) {
		wg.Go(func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
		wg.Go(func() {
			<-ctx.Done()
			drain, done := context.WithTimeout(context.Background(), drainTime)
			defer done()
			if s.Shutdown(drain) != nil {
				_ = s.Close() // what is left is cut off; there is nobody to tell
			}
		})
	}
	if r.http != nil {
		serve(r.server(handler), r.http)
	}
	if r.https != nil {
		secure := r.server(handler)
		secure.TLSConfig = r.serverTLS()
		l := newTLSListener(r.https.Addr())
		serve(secure, l)
		wg.Go(func() { r.acceptTLS(ctx, l, secure.TLSConfig, cancel) })
	}
	<-ctx.Done()
	err := r.Close()
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("router: %w", cause)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("router: %w", err)
	}
	return nil
}

func (r *Router) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       clientIdleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
}
