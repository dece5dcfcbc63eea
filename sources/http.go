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

// httpClient is go-git's client over base, or over a transport of its own where the
// repository brings its authority. go-git drops every credential when a redirect
// leaves the scheme, host or port that it was given for.
func httpClient(base http.RoundTripper, ca []byte) (transport.Transport, error) {
	if len(ca) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%w: ca.crt holds no certificate", ErrCredentials)
		}
		own := newHTTPTransport(roots)
		own.DisableKeepAlives = true // nobody would close its idle connections
		base = own
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
