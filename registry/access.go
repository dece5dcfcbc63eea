package registry

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Verb is what a request does to a repository.
type Verb string

// The verbs.
const (
	VerbPull   Verb = "pull"
	VerbPush   Verb = "push"
	VerbDelete Verb = "delete"
)

// Builder is the identity, and the user name, of Slipway's own builders.
const Builder = "builder"

// Access is a request that is to be allowed or not.
type Access struct {
	// Identity is whose credentials came with the request, verified; empty for none.
	Identity string
	// Remote is where the request comes from.
	Remote     netip.Addr
	Repository string
	Verb       Verb
}

// Authorizer decides what is allowed.
type Authorizer interface {
	Allow(ctx context.Context, a Access) bool
}

// LocalPolicy is the default: the builder may do all; without credentials one may
// pull, and from the same host only. The host's Docker Engine is such a caller; a pod is
// not, having a loopback interface of its own.
type LocalPolicy struct{}

// Allow implements Authorizer.
func (LocalPolicy) Allow(_ context.Context, a Access) bool {
	if a.Identity == Builder {
		return true
	}
	return a.Identity == "" && a.Verb == VerbPull && a.Remote.IsLoopback()
}

// gate knows who is calling. Basic credentials are accepted everywhere. Docker asks
// for a Bearer token when it is told to, and only that way pulls without credentials, so
// that is what a refused caller is told.
type gate struct {
	password string
	// key signs the tokens; new with each start.
	key [32]byte
	now func() time.Time
}

// tokenLife is how long a Bearer token is good for.
const tokenLife = 15 * time.Minute

var errCredentials = errUnauthorized.with("the credentials are wrong, or have expired")

// newGate reads the builders' password, which is made at the first start.
func newGate(dir string, d disk, now func() time.Time) (*gate, error) {
	g := &gate{now: now}
	rand.Read(g.key[:]) // never fails, by its contract
	path := filepath.Join(dir, "builder-token")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var fresh [32]byte
		rand.Read(fresh[:])
		b = []byte(hex.EncodeToString(fresh[:]) + "\n")
		tmp := filepath.Join(dir, "tmp", random())
		if err := d.Write(tmp, b); err != nil {
			return nil, err
		}
		err = d.Rename(tmp, path)
	}
	if err != nil {
		return nil, err
	}
	g.password = strings.TrimSpace(string(b))
	if len(g.password) < 32 {
		return nil, fmt.Errorf("registry: %s: shorter than 32 characters; remove it to have a new one made", path)
	}
	return g, nil
}

// identify returns whose credentials a request carries, empty for none; errCredentials
// for wrong ones, which never count as none.
func (g *gate) identify(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", nil
	}
	if user, password, ok := r.BasicAuth(); ok {
		right := subtle.ConstantTimeCompare([]byte(password), []byte(g.password)) == 1
		if user == Builder && right {
			return Builder, nil
		}
		return "", errCredentials
	}
	scheme, token, _ := strings.Cut(header, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return g.verify(strings.TrimSpace(token))
	}
	return "", errCredentials
}

// token is `<expiry, Unix seconds>.<identity>.<MAC>`, in base64.
func (g *gate) token(identity string) string {
	claim := strconv.FormatInt(g.now().Add(tokenLife).Unix(), 10) + "." + identity
	return base64.RawURLEncoding.EncodeToString([]byte(claim + "." + g.mac(claim)))
}

func (g *gate) mac(claim string) string {
	m := hmac.New(sha256.New, g.key[:])
	m.Write([]byte(claim))
	return hex.EncodeToString(m.Sum(nil))
}

func (g *gate) verify(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", errCredentials
	}
	cut := strings.LastIndexByte(string(b), '.')
	if cut < 0 || !hmac.Equal(b[cut+1:], []byte(g.mac(string(b[:cut])))) {
		return "", errCredentials
	}
	expiry, identity, _ := strings.Cut(string(b[:cut]), ".")
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || g.now().Unix() >= until {
		return "", errCredentials
	}
	return identity, nil
}

// remote is the address of the connection's other end; headers are not looked at.
func remote(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// challenge tells a client where to get a token.
func challenge(r *http.Request, repo string, verb Verb) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	// %q would let a hostile Host header break out of the quotes in one spelling or
	// another; such a header gets no realm worth following.
	host := strings.Map(func(c rune) rune {
		if strings.ContainsRune("\"\\ ,;<>", c) || c < ' ' {
			return '_'
		}
		return c
	}, r.Host)
	s := `Bearer realm="` + scheme + "://" + host + `/v2/_token",service="slipway"`
	if repo != "" {
		actions := "pull"
		if verb != VerbPull {
			actions = "pull,push"
		}
		s += `,scope="repository:` + repo + ":" + actions + `"`
	}
	return s
}
