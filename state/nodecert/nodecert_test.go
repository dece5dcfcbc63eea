package nodecert_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"slipway.dev/slipway/state/nodecert"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newAuthority(t *testing.T) *nodecert.Authority {
	t.Helper()
	cert, key, err := nodecert.NewAuthority(time.Now())
	must(t, err)
	a, err := nodecert.OpenAuthority(cert, key)
	must(t, err)
	return a
}

func certificate(t *testing.T, a *nodecert.Authority) *x509.Certificate {
	t.Helper()
	c, err := nodecert.ParseCertificate(a.Certificate())
	must(t, err)
	return c
}

func nodePair(t *testing.T, a *nodecert.Authority, name string, at time.Time) *tls.Certificate {
	t.Helper()
	key, err := nodecert.NewKey()
	must(t, err)
	request, err := nodecert.NewRequest(key)
	must(t, err)
	cert, _, err := a.Sign(request, name, at)
	must(t, err)
	text, err := nodecert.EncodeKey(key)
	must(t, err)
	pair, err := tls.X509KeyPair(cert, text)
	must(t, err)
	return &pair
}

// shake tries a handshake, and whether both then hear each other.
func shake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			s := tls.Server(c, server)
			if err = s.Handshake(); err == nil {
				_, err = s.Write([]byte("x"))
			}
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer raw.Close()
	must(t, raw.SetDeadline(time.Now().Add(30*time.Second)))
	c := tls.Client(raw, client)
	if err = c.Handshake(); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	raw.Close()
	if other := <-done; err == nil {
		err = other
	}
	return err
}

func as(c *tls.Certificate) func() *tls.Certificate { return func() *tls.Certificate { return c } }

// Nobody can stand for anybody else, whatever certificate he has.
func TestWhoTrustsWhom(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	n1, n2, strange := nodePair(t, a, "n1", time.Now()), nodePair(t, a, "n2", time.Now()), nodePair(t, other, "n1", time.Now())
	ended := nodePair(t, a, "n1", time.Now().Add(-2*nodecert.NodeLife))
	toNode := func(by *nodecert.Authority, name string) *tls.Config {
		c := by.Asking(time.Now)
		c.ServerName = name + nodecert.NodeDomain
		return c
	}
	// asNode listens as a server would, with a node's certificate.
	asServer := func(c *tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: append(c.Certificate, certificate(t, a).Raw), PrivateKey: c.PrivateKey}}}
	}
	asClient := func(c *tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }}
	}
	for name, c := range map[string]struct {
		client, server *tls.Config
		good           bool
	}{
		"a node joins":                            {nodecert.Pinned(a.Hash(), nil), a.Serving(time.Now), true},
		"a node joins somebody else":              {nodecert.Pinned(a.Hash(), nil), other.Serving(time.Now), false},
		"a node joins a node":                     {nodecert.Pinned(a.Hash(), nil), asServer(n2), false},
		"a node asks a server":                    {nodecert.Trusting(certificate(t, a), as(n1)), a.Serving(time.Now), true},
		"a node asks another's server":            {nodecert.Trusting(certificate(t, a), as(n1)), other.Serving(time.Now), false},
		"a node asks a node":                      {nodecert.Trusting(certificate(t, a), as(n1)), asServer(n2), false},
		"a server asks a node":                    {toNode(a, "n1"), nodecert.Answering(certificate(t, a), as(n1)), true},
		"a server asks a node of another name":    {toNode(a, "n1"), nodecert.Answering(certificate(t, a), as(n2)), false},
		"a server asks another authority's node":  {toNode(a, "n1"), nodecert.Answering(certificate(t, a), as(strange)), false},
		"a server asks a node that has ended":     {toNode(a, "n1"), nodecert.Answering(certificate(t, a), as(ended)), false},
		"another's server asks a node":            {toNode(other, "n1"), nodecert.Answering(certificate(t, a), as(n1)), false},
		"a node asks a node where servers may":    {asClient(n2), nodecert.Answering(certificate(t, a), as(n1)), false},
		"somebody without anything asks a node":   {asClient(&tls.Certificate{}), nodecert.Answering(certificate(t, a), as(n1)), false},
		"a server's certificate, but in TLS 1.2":  {&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, a.Serving(time.Now), false},
		"another authority's node asks as itself": {nodecert.Trusting(certificate(t, a), as(strange)), a.Serving(time.Now), true},
	} {
		if err := shake(t, c.client, c.server); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who shows what, the server looks at by request.
	for name, c := range map[string]struct {
		cert *tls.Certificate
		at   time.Time
		who  string
	}{
		"its own": {n1, time.Now(), "n1"}, "of another authority": {strange, time.Now(), ""}, "ended": {ended, time.Now(), ""}, "to come": {n1, time.Now().Add(-time.Hour), ""},
	} {
		leaf, err := x509.ParseCertificate(c.cert.Certificate[0])
		must(t, err)
		if who, err := a.Node(leaf, c.at); who != c.who || (err == nil) != (c.who != "") {
			t.Errorf("%s: %q, %v", name, who, err)
		}
	}
	server, err := a.Server(time.Now())
	must(t, err)
	if who, err := a.Node(server.Leaf, time.Now()); err == nil {
		t.Errorf("a server is node %q", who)
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	key, err := nodecert.NewKey()
	must(t, err)
	good, err := nodecert.NewRequest(key)
	must(t, err)
	for _, bad := range []string{"", "x", string(good) + "x", strings.Replace(string(good), "CERTIFICATE REQUEST", "CERTIFICATE", 2), string(a.Certificate())} {
		if _, _, err := a.Sign([]byte(bad), "n1", time.Now()); err == nil {
			t.Errorf("signed: %q", bad)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(nodecert.NewToken(strings.Repeat("a", 64)).String())
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := nodecert.ParseToken(s)
		if err == nil && token.String() != s {
			t.Errorf("%q is read as %q", s, token)
		}
		if err != nil && len(s) > 20 && strings.Contains(err.Error(), s) {
			t.Error("the error shows the token")
		}
	})
}
