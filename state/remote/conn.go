package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"slipway.dev/slipway/state/nodecert"
)

// How long is waited for a server before another is tried.
const (
	dialTime      = 3 * time.Second
	handshakeTime = 5 * time.Second
	// quiet is after how much silence a server is asked whether it is still there, and how long it
	// may take to say so.
	quiet = 5 * time.Second
	// restTime is how long nobody is asked after no server answered: what waits for an answer must not be
	// held up again and again.
	restTime = time.Second
)

// ErrAway says that no server answers.
var ErrAway = errors.New("no server answers")

// Conn speaks to whichever server answers. It is an http.RoundTripper: of a request's URL only the
// path counts.
type Conn struct {
	identity *Identity
	log      *slog.Logger
	now      func() time.Time
	// refused holds a value when a server has not accepted the certificate.
	refused chan struct{}

	mu        sync.Mutex
	transport *http.Transport // guarded by mu, as all that follows
	current   int             // which server answered last
	away      time.Time       // until when nobody is asked
}

// Dial makes a Conn; it connects when it is used.
func Dial(i *Identity, log *slog.Logger) *Conn {
	c := &Conn{identity: i, log: log, now: time.Now, refused: make(chan struct{}, 1)}
	c.transport = newTransport(nodecert.Trusting(i.authority, i.certificate))
	return c
}

func newTransport(t *tls.Config) *http.Transport {
	return &http.Transport{
		TLSClientConfig: t, ForceAttemptHTTP2: true, TLSHandshakeTimeout: handshakeTime, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: dialTime, KeepAlive: quiet}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: quiet, PingTimeout: quiet},
	}
}

// RoundTrip implements http.RoundTripper. A server that cannot be connected to is passed over; what
// was sent to one that then broke off is not sent again.
func (c *Conn) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	transport, first, away := c.transport, c.current, c.away
	c.mu.Unlock()
	if c.now().Before(away) {
		return nil, ErrAway
	}
	servers := c.identity.Settings().all()
	var errs []error
	for i := range servers {
		n := (first + i) % len(servers)
		resp, err := c.try(transport, r, servers[n], i > 0)
		if err == nil {
			c.answered(n, servers[n])
			if resp.StatusCode == http.StatusUnauthorized {
				select {
				case c.refused <- struct{}{}:
				default:
				}
			}
			if resp.StatusCode >= http.StatusInternalServerError {
				// It answers, but its etcd may be away: the next request goes to another.
				c.pass(n, len(servers))
			}
			return resp, nil
		}
		if why := r.Context().Err(); why != nil {
			if errors.Is(why, context.DeadlineExceeded) {
				// It was connected to and says nothing: the next request goes to another.
				c.pass(n, len(servers))
			}
			return nil, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", servers[n], err))
		if !unsent(err) {
			c.pass(n, len(servers))
			return nil, errors.Join(errs...)
		}
	}
	c.mu.Lock()
	c.away = c.now().Add(restTime)
	c.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrAway, errors.Join(errs...))
}

func (c *Conn) try(t *http.Transport, r *http.Request, server string, again bool) (*http.Response, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = u.Scheme, u.Host
	out.URL.Path = strings.TrimSuffix(u.Path, "/") + r.URL.Path
	if again && r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return nil, errors.New("the request cannot be sent twice")
		}
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.RoundTrip(out)
}

// unsent says whether an error came before anything of the request was sent.
func unsent(err error) bool {
	var op *net.OpError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &verify)
}

func (c *Conn) answered(n int, server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = time.Time{}
	if c.current != n {
		c.log.Info("speaking to another server", "server", server)
	}
	c.current = n
}

// pass goes on to the server after n.
func (c *Conn) pass(n, of int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == n {
		c.current = (n + 1) % of
	}
}

// Renew gets the next certificate now.
func (c *Conn) Renew(ctx context.Context) error {
	key, err := nextKey(c.identity.dir)
	if err != nil {
		return err
	}
	// A connection of its own shows the certificate anew.
	fresh := &http.Client{Transport: newTransport(nodecert.Trusting(c.identity.authority, c.identity.certificate)), Timeout: askTime}
	defer fresh.CloseIdleConnections()
	answer, err := ask(ctx, fresh, c.identity.Settings(), key, "")
	if err != nil {
		return err
	}
	if err := c.identity.accept(key, answer); err != nil {
		return err
	}
	next := newTransport(nodecert.Trusting(c.identity.authority, c.identity.certificate))
	c.mu.Lock()
	old := c.transport
	c.transport = next
	c.mu.Unlock()
	// What is under way ends by itself.
	old.CloseIdleConnections()
	return nil
}

// How often a certificate is looked at, and asked for again when that failed.
const (
	renewLook  = time.Minute
	renewAgain = 10 * time.Second
)

// KeepCertificate renews the certificate whenever two thirds of its life are over, until ctx ends. It
// renews at once where that was missed, and where a server does not accept it: their clocks may differ.
func (c *Conn) KeepCertificate(ctx context.Context) {
	for refused := false; ; {
		leaf := c.identity.certificate().Leaf
		wait := min(nodecert.RenewAt(leaf.NotBefore, leaf.NotAfter).Sub(c.now()), renewLook)
		if wait <= 0 || refused {
			wait = renewAgain
			if err := c.Renew(ctx); err == nil {
				c.log.Info("the node's certificate is renewed", "until", c.identity.certificate().Leaf.NotAfter)
			} else if ctx.Err() == nil {
				c.log.Warn("the node's certificate is not renewed, will retry", "until", leaf.NotAfter, "error", err)
			}
			// Not even a refusal is looked at before the time is over.
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		refused = false
		select {
		case <-ctx.Done():
			return
		case <-c.refused:
			refused = true
		case <-time.After(wait):
		}
	}
}
