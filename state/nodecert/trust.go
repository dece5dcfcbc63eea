package nodecert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Pinned is how a node that joins connects: it accepts the server whose authority has this hash, and
// nobody else. The certificate, where the node has an old one, is shown.
func Pinned(hash string, own *tls.Certificate) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName,
		// What follows takes the place of the usual checks, which know no authority yet.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates[1:] {
				if HashKey(c.RawSubjectPublicKeyInfo) == hash {
					return verifyServer(s.PeerCertificates[0], c, time.Now())
				}
			}
			return errors.New("the server does not belong to the authority that the token names: a wrong address, or somebody in between")
		},
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return orNone(own), nil }
	return c
}

// Trusting is how a node connects that has joined. own is asked for with each connection.
func Trusting(authority *x509.Certificate, own func() *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyServer(s.PeerCertificates[0], authority, time.Now())
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return orNone(own()), nil },
	}
}

func orNone(c *tls.Certificate) *tls.Certificate {
	if c == nil {
		return &tls.Certificate{}
	}
	return c
}

func verifyServer(leaf, authority *x509.Certificate, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: ServerName, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("the server's certificate: %w", err)
	}
	return nil
}

// Serving is how a server listens: it asks for certificates and takes any; whether one is good for
// what is asked is decided by Node and Late.
func (a *Authority) Serving(now func() time.Time) *tls.Config {
	s := &renewed{authority: a, now: now}
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() }}
}

// Asking is how a server connects to nodes, each by its name with NodeDomain behind it, and to other servers by
// ServerName.
func (a *Authority) Asking(now func() time.Time) *tls.Config {
	s, roots := &renewed{authority: a, now: now}, x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.certificate() }}
}

// Answering is how a node listens: servers may ask, nobody else.
func Answering(authority *x509.Certificate, own func() *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own(), nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			if c := s.PeerCertificates[0].Subject; c.CommonName != serverCommon || len(c.Organization) > 0 {
				return errors.New("this is no certificate of a server")
			}
			return nil
		},
	}
}
