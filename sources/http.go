package sources

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// maxAdvertisement bounds the list of references that a server may send.
const maxAdvertisement = 64 << 20

func newHTTPTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// guarded is a transport for tenants: redirects are checked, too, because each is a
// request of its own.
type guarded struct {
	guard guard
	// direct checks the addresses that it dials; proxied dials the proxy that the
	// administrator set, which is trusted, once the target's addresses are checked.
	direct, proxied *http.Transport
}

func newGuarded(g guard, roots *x509.CertPool) *guarded {
	t := &guarded{guard: g, direct: newHTTPTransport(roots), proxied: newHTTPTransport(roots)}
	t.direct.Proxy = nil
	t.direct.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: g.control}).DialContext
	return t
}

func (t *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return t.direct.RoundTrip(req)
	}
	port := req.URL.Port()
	if port == "" {
		port = defaultPorts[req.URL.Scheme]
	}
	if _, err := t.guard.resolve(req.Context(), req.URL.Hostname(), port); err != nil {
		return nil, err
	}
	return t.proxied.RoundTrip(req)
}

// httpTransport carries what c opens: over the shared transports, or over one of its
// own where the repository brings its authority.
func (m *Mirrors) httpTransport(c Credentials) (http.RoundTripper, error) {
	switch {
	case len(c.ca) == 0 && c.trusted:
		return m.trusted, nil
	case len(c.ca) == 0:
		return m.guarded, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(c.ca) {
		return nil, fmt.Errorf("%w: ca.crt holds no certificate", ErrCredentials)
	}
	// Nobody would close idle connections.
	if c.trusted {
		own := newHTTPTransport(roots)
		own.DisableKeepAlives = true
		return own, nil
	}
	own := newGuarded(guard{m.opts.Reachable}, roots)
	own.direct.DisableKeepAlives, own.proxied.DisableKeepAlives = true, true
	return own, nil
}

// httpClient is go-git's client. It drops every credential when a redirect leaves the
// scheme, host or port that it was given for.
func (m *Mirrors) httpClient(c Credentials) (transport.Transport, error) {
	base, err := m.httpTransport(c)
	if err != nil {
		return nil, err
	}
	return githttp.NewClientWithOptions(&http.Client{Transport: cautious{base}}, &githttp.ClientOptions{RedirectPolicy: githttp.FollowInitialRedirects}), nil
}

// cautious bounds what a server can make us read where the body becomes an error
// text or a list of references.
type cautious struct{ base http.RoundTripper }

func (c cautious) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		// A server may repeat the credentials that it refuses.
		res.Body = bounded{io.LimitReader(res.Body, 0), res.Body}
	case res.StatusCode >= 400:
		res.Body = bounded{io.LimitReader(res.Body, 512), res.Body}
	case strings.HasSuffix(req.URL.Path, "/info/refs"):
		res.Body = bounded{&limited{res.Body, maxAdvertisement}, res.Body}
	}
	return res, nil
}

type bounded struct {
	io.Reader
	io.Closer
}

var errTooLarge = errors.New("the server sends more than is allowed")

// limited fails, instead of ending, when more than left bytes come.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
