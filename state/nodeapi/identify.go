package nodeapi

import (
	"context"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/nodecert"
)

// remember is how long it may take until a node that was shut out is noticed.
const remember = 2 * time.Second

// known is what a node's Secret said when it was last read.
type known struct {
	keys [2]string
	at   time.Time
}

// caller is the node that asks.
type caller struct {
	name string
	// key is of the certificate that it showed; until is when that ends.
	key   string
	until time.Time
}

// identify says which node asks. Nobody else is answered.
func (s *Server) identify(r *http.Request) (caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return caller{}, unauthorized("show a node's certificate: `slipway node join` gets one")
	}
	cert := r.TLS.PeerCertificates[0]
	name, err := s.Authority.Node(cert, s.Now())
	if err != nil {
		return caller{}, unauthorized("the certificate: %v", err)
	}
	who := caller{name: name, key: nodecert.HashKey(cert.RawSubjectPublicKeyInfo), until: cert.NotAfter}
	return who, s.still(r.Context(), who)
}

// still says whether a node is one, now.
func (s *Server) still(ctx context.Context, who caller) error {
	s.mu.Lock()
	k, ok := s.known[who.name]
	s.mu.Unlock()
	now := s.Now()
	if now.After(who.until) {
		return unauthorized("the certificate of node %s has ended", who.name)
	}
	// A key that is not known may be of a certificate given a moment ago, by another server.
	if !ok || now.Sub(k.at) > remember || now.Before(k.at) || !k.has(who.key) {
		secret := secretNamed(nodePrefix + who.name)
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret); client.IgnoreNotFound(err) != nil {
			return err
		} else if err != nil || secret.Type != TypeNode {
			secret.Data = nil
		}
		k = known{keys: [2]string{string(secret.Data[keyCurrent]), string(secret.Data[keyFormer])}, at: now}
		s.mu.Lock()
		s.known[who.name] = k
		s.mu.Unlock()
	}
	if !k.has(who.key) {
		return unauthorized("node %s was taken away, or has another certificate: join again", who.name)
	}
	return nil
}

func (k known) has(key string) bool { return key != "" && (k.keys[0] == key || k.keys[1] == key) }

// shows says why a request does not come from who has the name's certificate; one that has lately ended is enough.
func (s *Server) shows(r *http.Request, name string, secret *corev1.Secret) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return unauthorized("node %s: show its certificate", name)
	}
	cert := r.TLS.PeerCertificates[0]
	who, err := s.Authority.Late(cert, s.Now())
	if err != nil {
		return unauthorized("node %s: %v", name, err)
	}
	key := nodecert.HashKey(cert.RawSubjectPublicKeyInfo)
	if who != name || !same(secret.Data[keyCurrent], key) && !same(secret.Data[keyFormer], key) {
		return apierrors.NewUnauthorized("this is not the certificate of node " + name)
	}
	return nil
}
