package router

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"
)

// serverTLS is how connections end here: with the certificate of the host's route, or
// the router's own.
func (r *Router) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if rule := r.Table().MatchTLS(normalHost(hello.ServerName)); rule != nil && rule.Certificate != nil {
				return rule.Certificate, nil
			}
			return r.certificate, nil
		},
	}
}

// selfSigned is the router's own certificate, for the suffix and one label below it.
func selfSigned(suffix string, now time.Time) (*tls.Certificate, error) {
	names := []string{"localhost"}
	if suffix != "" {
		names = []string{"*." + suffix, suffix}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Slipway router, self-signed"},
		DNSNames:     names,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// acceptTLS looks at each connection's first message: it is passed through to a pod, or
// handed to the HTTP server.
func (r *Router) acceptTLS(ctx context.Context, to *tlsListener, config *tls.Config, failed context.CancelCauseFunc) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := r.https.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return
		case err != nil && !errors.Is(err, net.ErrClosed):
			// Out of file descriptors, say: it passes.
			r.log.Warn("router: accept failed", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		case err != nil:
			failed(err)
			return
		}
		wg.Go(func() { r.greet(ctx, conn, to, config) })
	}
}

func (r *Router) greet(ctx context.Context, conn net.Conn, to *tlsListener, config *tls.Config) {
	handedOn := false
	defer func() {
		if !handedOn {
			conn.Close()
		}
	}()
	if conn.SetReadDeadline(time.Now().Add(headerTimeout)) != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	name, read, err := peekHello(conn)
	stop()
	if err != nil || conn.SetReadDeadline(time.Time{}) != nil || ctx.Err() != nil {
		return
	}
	replay := &replayConn{Conn: conn, first: bytes.NewReader(read)}
	if rule := r.Table().MatchTLS(normalHost(name)); rule != nil && rule.Termination == Passthrough {
		r.passThrough(ctx, conn, replay, rule)
		return
	}
	handedOn = to.hand(tls.Server(replay, config))
}

// maxHello is how much of a connection is read to find out where it wants to go.
const maxHello = 64 << 10

var errPeeked = errors.New("the hello was read")

// peekHello reads a ClientHello, in however many pieces and records it comes, and
// returns the server name in it and everything that was read. It answers nothing.
func peekHello(from io.Reader) (name string, read []byte, err error) {
	p := &peekConn{from: io.LimitReader(from, maxHello)}
	seen := false
	err = tls.Server(p, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name, seen = hello.ServerName, true
			return nil, errPeeked
		},
	}).HandshakeContext(context.Background())
	if !seen {
		return "", nil, err
	}
	return name, p.read.Bytes(), nil
}

// peekConn remembers what is read and swallows what is written.
type peekConn struct {
	from io.Reader
	read bytes.Buffer
}

func (p *peekConn) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.read.Write(b[:n])
	return n, err
}

func (p *peekConn) Write(b []byte) (int, error)      { return len(b), nil }
func (p *peekConn) Close() error                     { return nil }
func (p *peekConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *peekConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *peekConn) SetDeadline(time.Time) error      { return nil }
func (p *peekConn) SetReadDeadline(time.Time) error  { return nil }
func (p *peekConn) SetWriteDeadline(time.Time) error { return nil }

// replayConn gives what was read once more.
type replayConn struct {
	net.Conn
	first *bytes.Reader
}

func (c *replayConn) Read(b []byte) (int, error) {
	if c.first.Len() > 0 {
		return c.first.Read(b)
	}
	return c.Conn.Read(b)
}

// passThrough joins the connection to one of the rule's pods.
func (r *Router) passThrough(ctx context.Context, conn net.Conn, replay *replayConn, rule *Rule) {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || !rule.allows(remote.Addr().Unmap()) {
		return
	}
	count := r.stats.of(rule.Route)
	count.connections.Add(1)
	c := choice{client: remote.Addr().Unmap()}
	again := func(old *Rule) *Rule {
		if now := r.again(old); now != nil && now.Termination == Passthrough {
			return now
		}
		return nil
	}
	for attempt := range maxAttempts {
		c.now = r.now()
		b := r.scheduler.pickAgain(&rule, again, c)
		if b == nil {
			break
		}
		if attempt > 0 {
			count.retries.Add(1)
		}
		pod, err := b.dial(ctx)
		if err != nil {
			b.eject(r.now())
			b.release()
			c.tried = append(c.tried, b.addr)
			continue
		}
		join(ctx, conn, replay, pod)
		b.release()
		return
	}
	count.failures.Add(1)
}

// join copies both ways until both have ended, or ctx has.
func join(ctx context.Context, client net.Conn, from io.Reader, pod net.Conn) {
	closeBoth := func() {
		client.Close()
		pod.Close()
	}
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	defer closeBoth()
	var wg sync.WaitGroup
	wg.Go(func() { oneWay(pod, from, closeBoth) })
	wg.Go(func() { oneWay(client, pod, closeBoth) })
	wg.Wait()
}

// oneWay hands on the end of what is read as such, and a failure as the end of both.
func oneWay(to net.Conn, from io.Reader, fail func()) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		fail()
	}
}

// tlsListener hands connections to the HTTP server that were accepted elsewhere.
type tlsListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newTLSListener(addr net.Addr) *tlsListener {
	return &tlsListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *tlsListener) hand(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tlsListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *tlsListener) Addr() net.Addr { return l.addr }
