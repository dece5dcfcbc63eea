package nodecert

import (
	"crypto/tls"
	"sync"
	"time"
)

// renewed is a server's certificate, made anew when two thirds of its life are over.
type renewed struct {
	authority *Authority
	now       func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate // guarded by mu
}

func (r *renewed) certificate() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.cert == nil || now.After(RenewAt(r.cert.Leaf.NotBefore, r.cert.Leaf.NotAfter)) {
		c, err := r.authority.Server(now)
		if err != nil {
			return nil, err
		}
		r.cert = &c
	}
	return r.cert, nil
}

// RenewAt is when a certificate is to be replaced: two thirds into its life.
func RenewAt(from, to time.Time) time.Time { return from.Add(to.Sub(from) * 2 / 3) }
