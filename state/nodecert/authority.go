package nodecert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// How long certificates are good for.
const (
	// AuthorityLife is that of the authority's own.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// ServerLife is that of a server's, which it makes itself when it starts and before the end.
	ServerLife = 7 * 24 * time.Hour
	// NodeLife is that of a node's.
	NodeLife = 24 * time.Hour
	// Grace is how long after its end a node's certificate may still ask for the next, and for
	// nothing else: a node that the servers were away from for days comes back by itself.
	Grace = 30 * 24 * time.Hour
	// skew is what clocks may differ by.
	skew = 5 * time.Minute
)

const (
	// ServerName is what a server's certificate names, whatever address it is reached at.
	ServerName = "server.slipway.internal"
	// NodeDomain follows a node's name in what its certificate names.
	NodeDomain   = ".node.slipway.internal"
	serverCommon = "system:server"
	// Organization and the prefix of common names are Kubernetes'.
	Organization = "system:nodes"
	commonPrefix = "system:node:"
)

// Authority signs the certificates of servers and nodes.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority, in PEM.
func NewAuthority(now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Slipway's nodes"}, NotBefore: now.Add(-skew), NotAfter: now.Add(AuthorityLife),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := sign(template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	key, err = EncodeKey(private)
	return encode("CERTIFICATE", der), key, err
}

// OpenAuthority reads what NewAuthority made.
func OpenAuthority(cert, key []byte) (*Authority, error) {
	c, err := ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("the authority of nodes: %w", err)
	}
	k, err := ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("the authority of nodes: %w", err)
	}
	if !c.IsCA || !k.PublicKey.Equal(c.PublicKey) {
		return nil, errors.New("the authority of nodes: certificate and key do not belong together")
	}
	return &Authority{cert: c, key: k}, nil
}

// Certificate is the authority's own, in PEM.
func (a *Authority) Certificate() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// Hash names the authority: SHA-256 of its public key, in hex.
func (a *Authority) Hash() string { return HashKey(a.cert.RawSubjectPublicKeyInfo) }

// HashKey is the SHA-256, in hex, of a public key as certificates hold it.
func HashKey(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// Server is a fresh certificate of a server, with the authority's behind it.
func (a *Authority) Server(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: serverCommon}, DNSNames: []string{ServerName}, NotBefore: now.Add(-skew), NotAfter: now.Add(ServerLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, err
}

// Sign makes a node's certificate for the key of a certificate request. Of the request nothing
// else counts: who the node is, the caller knows.
func (a *Authority) Sign(request []byte, node string, now time.Time) (cert []byte, key string, err error) {
	r, err := parseRequest(request)
	if err != nil {
		return nil, "", err
	}
	der, err := sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: commonPrefix + node, Organization: []string{Organization}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(NodeLife),
		DNSNames: []string{node + NodeDomain},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, r.PublicKey, a.key)
	return encode("CERTIFICATE", der), HashKey(r.RawSubjectPublicKeyInfo), err
}

// Node is the node whose certificate this is, if the authority signed it and it is good at the time.
func (a *Authority) Node(c *x509.Certificate, at time.Time) (string, error) {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(c.Subject.CommonName, commonPrefix)
	if !ok || name == "" || len(c.Subject.Organization) != 1 || c.Subject.Organization[0] != Organization {
		return "", errors.New("this is no certificate of a node")
	}
	return name, nil
}

// IsServer says why a certificate is not that of a server which the authority signed and which is good at the time.
func (a *Authority) IsServer(c *x509.Certificate, at time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: ServerName, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return err
	}
	if c.Subject.CommonName != serverCommon || len(c.Subject.Organization) > 0 {
		return errors.New("this is no certificate of a server")
	}
	return nil
}

// Late is Node, for a certificate that has ended by less than Grace.
func (a *Authority) Late(c *x509.Certificate, now time.Time) (string, error) {
	if now.After(c.NotAfter.Add(Grace)) {
		return "", fmt.Errorf("the certificate ended at %s, more than %d days ago: join again with a token", c.NotAfter.UTC().Format(time.RFC3339), int(Grace.Hours()/24))
	}
	if now.After(c.NotAfter) {
		now = c.NotAfter
	}
	return a.Node(c, now)
}

// NewRequest is a certificate request for a key, in PEM.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return encode("CERTIFICATE REQUEST", der), err
}

// RequestKey is HashKey of a request's key; the request proves that its sender has the private one.
func RequestKey(request []byte) (string, error) {
	r, err := parseRequest(request)
	if err != nil {
		return "", err
	}
	return HashKey(r.RawSubjectPublicKeyInfo), nil
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("this is no certificate request in PEM")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	switch k := r.PublicKey.(type) {
	case ed25519.PublicKey:
		return r, nil
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize >= 256 {
			return r, nil
		}
	}
	return nil, errors.New("certificate request: want an ECDSA key of 256 bits or more, or an Ed25519 key")
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, parent, public, key)
}
