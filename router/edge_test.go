package router

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// certificate is a self-signed one, and its key, as PEM.
func certificate(t testing.TB, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// edge is a router on loopback whose table a test sets.
type edge struct {
	*Router
	*aWorld
	t testing.TB
}

func startEdge(t testing.TB) *edge {
	t.Helper()
	r, err := New(Options{HTTP: "127.0.0.1:0", HTTPS: "127.0.0.1:0", Log: quiet(), Suffix: "apps.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &edge{r, newTestWorld(), t}
}

// backends sets a service's endpoints to where the pods listen, one subset each.
func (e *edge) backends(key string, pods ...*pod) {
	e.service(key)
	subsets := []corev1.EndpointSubset{}
	for _, p := range pods {
		subsets = append(subsets, corev1.EndpointSubset{
			Addresses: []corev1.EndpointAddress{{IP: p.addr.IP.String()}},
			Ports:     []corev1.EndpointPort{{Name: "http", Port: int32(p.addr.Port)}},
		})
	}
	e.Endpoints[split(key)].Subsets = subsets
}

// apply compiles the world and swaps the table.
func (e *edge) apply() map[string]Verdict {
	table, verdicts := Compile(e.World)
	e.Swap(table)
	byName := map[string]Verdict{}
	for k, v := range verdicts {
		byName[k.String()] = v
	}
	return byName
}

// backend is the router's side of a pod; nil if it was not used yet.
func (e *edge) backend(p *pod) *backend {
	pools := e.scheduler.pools
	pools.mu.Lock()
	defer pools.mu.Unlock()
	return pools.backends[destination{addr: p.addr.AddrPort()}]
}

// pod is a real server on an address of its own.
type pod struct {
	name   string
	addr   *net.TCPAddr
	server *http.Server
}

func startPod(t testing.TB, name, ip string, h http.HandlerFunc, config *tls.Config) *pod {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) }
	}
	p := &pod{name: name, addr: l.Addr().(*net.TCPAddr), server: &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(quiet().Handler(), slog.LevelDebug)}}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	go p.server.Serve(l)
	t.Cleanup(func() { p.server.Close() })
	return p
}

// stop ends the pod as a good one does: it finishes what it is doing.
func (p *pod) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// client reaches the router under any host name; names are not resolved.
func (e *edge) client(secure *tls.Config) *http.Client {
	if secure == nil {
		secure = &tls.Config{InsecureSkipVerify: true}
	}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := e.HTTPAddr().String()
			if strings.HasSuffix(addr, ":443") {
				to = e.HTTPSAddr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
		TLSClientConfig: secure, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64,
	}
	e.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type reply struct {
	status int
	header http.Header
	body   string
	proto  string
	peer   *x509.Certificate
}

func (e *edge) get(url string, headers ...string) reply {
	e.t.Helper()
	r, err := e.try(e.client(nil), "GET", url, nil, headers...)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *edge) try(c *http.Client, method, url string, body io.Reader, headers ...string) (reply, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r := reply{resp.StatusCode, resp.Header, string(b), resp.Proto, nil}
	if resp.TLS != nil {
		r.peer = resp.TLS.PeerCertificates[0]
	}
	return r, err
}
