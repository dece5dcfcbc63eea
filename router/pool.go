package router

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout is how long a pod may take to accept; then another one is asked.
	dialTimeout = 2 * time.Second
	// ejection is for how long a pod that did not accept is passed over.
	ejection = time.Second
	// idleConns and idleTime bound the connections that are kept to one endpoint.
	idleConns = 64
	idleTime  = 30 * time.Second
)

// destination names the connections that may be shared: the address, and, where TLS is
// spoken to it, on whose terms.
type destination struct {
	addr netip.AddrPort
	tls  string
}

// backend is an endpoint and the connections to it.
type backend struct {
	destination
	// id is what a sticky cookie holds.
	id        string
	transport *http.Transport
	// inflight counts requests and passthrough connections.
	inflight atomic.Int64
	// ejectedUntil, in Unix nanoseconds.
	ejectedUntil atomic.Int64
	// gone says that no rule leads here any more.
	gone atomic.Bool
}

func (b *backend) eject(now time.Time) { b.ejectedUntil.Store(now.Add(ejection).UnixNano()) }

func (b *backend) ejected(now time.Time) bool { return now.UnixNano() < b.ejectedUntil.Load() }

// release ends a use. The last one of a backend that is gone takes its connections along.
func (b *backend) release() {
	if b.inflight.Add(-1) == 0 && b.gone.Load() {
		b.transport.CloseIdleConnections()
	}
}

// pools are the backends by destination.
type pools struct {
	mu       sync.Mutex
	backends map[destination]*backend // guarded by mu
	// wanted are the destinations of the table; guarded by mu.
	wanted map[destination]bool
}

func newPools() *pools { return &pools{backends: map[destination]*backend{}} }

// get returns the backend of a rule's endpoint; nil if it has left since the rule was
// looked up.
func (p *pools) get(r *Rule, addr netip.AddrPort) *backend {
	d := destination{addr, r.destinationKey}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backends[d]
	if b == nil && p.wanted[d] {
		sum := sha256.Sum256([]byte("endpoint " + addr.String()))
		b = &backend{destination: d, id: hex.EncodeToString(sum[:16]), transport: newTransport(r)}
		p.backends[d] = b
	}
	return b
}

func destinations(t *Table) map[destination]bool {
	all := map[destination]bool{}
	for _, r := range t.Rules() {
		for _, e := range r.Endpoints {
			all[destination{e.Addr, r.destinationKey}] = true
		}
	}
	return all
}

// expect admits the destinations of a table that is about to be used, beside those of
// the one that is.
func (p *pools) expect(t *Table) {
	both := destinations(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(both, p.wanted)
	p.wanted = both
}

// keep drops the backends that the table does not lead to: idle connections close now,
// the others when what they carry has ended.
func (p *pools) keep(t *Table) {
	wanted := destinations(t)
	p.mu.Lock()
	p.wanted = wanted
	var gone []*backend
	for d, b := range p.backends {
		if !wanted[d] {
			delete(p.backends, d)
			gone = append(gone, b)
		}
	}
	p.mu.Unlock()
	for _, b := range gone {
		b.gone.Store(true)
		b.transport.CloseIdleConnections()
	}
}

var dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}

func newTransport(r *Rule) *http.Transport {
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        idleTime,
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true, // what the pod encoded goes to the client as it is
		MaxResponseHeaderBytes: 256 << 10,
	}
	if r.Termination == Reencrypt {
		t.TLSClientConfig = clientTLS(r)
	}
	return t
}

// clientTLS is how the pods of a reencrypt route are verified.
func clientTLS(r *Rule) *tls.Config {
	if r.DestinationCAs == nil {
		return &tls.Config{ServerName: r.DestinationName, NextProtos: []string{"http/1.1"}}
	}
	// The authority in the route is the trust; whatever name it certified is the pod's.
	// The library verifies either both or nothing, so the chain is verified here.
	roots := r.DestinationCAs
	return &tls.Config{
		ServerName:         r.DestinationName,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the pod shows no certificate")
			}
			options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, c := range cs.PeerCertificates[1:] {
				options.Intermediates.AddCert(c)
			}
			if _, err := cs.PeerCertificates[0].Verify(options); err != nil {
				return fmt.Errorf("the pod's certificate: %w", err)
			}
			return nil
		},
	}
}

// isDial says that no connection came about, so that nothing can have been sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// dial connects to the backend for a passthrough connection.
func (b *backend) dial(ctx context.Context) (net.Conn, error) {
	return dialer.DialContext(ctx, "tcp", b.addr.String())
}
