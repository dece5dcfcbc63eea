package remote

import (
	"crypto/x509"
	"time"
)

// At lets a Conn take the time from elsewhere.
func (c *Conn) At(now func() time.Time) { c.now = now }

// Certificate is the identity's own.
func (i *Identity) Certificate() *x509.Certificate { return i.certificate().Leaf }
