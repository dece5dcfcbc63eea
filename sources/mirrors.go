package sources

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitfile "github.com/go-git/go-git/v5/plumbing/transport/file"
	gitproto "github.com/go-git/go-git/v5/plumbing/transport/git"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"slipway.dev/slipway/api"
)

// Options says what mirrors may fetch.
type Options struct {
	// Schemes are those that are fetched from; default http, https, ssh and file. git,
	// which neither encrypts nor knows who answers, must be named.
	Schemes []string
	// FileRoots are the folders below which the administrators' repositories with file
	// URLs may lie; none by default, because such a URL reads this host's own files.
	FileRoots []string
	// Reachable says which addresses of this host, link-local and metadata addresses the
	// repositories of tenants may be at; nil: none.
	Reachable func(netip.AddrPort) bool
	// MaxPackBytes bounds what one fetch brings in; default 2 GiB.
	MaxPackBytes int64
	// RoundTripper carries http and https instead of transports that check addresses and
	// have timeouts for connections, which are the default.
	RoundTripper http.RoundTripper
	// SigningKey signs commits and tags in repositories whose Secret brings no key of its
	// own; may be nil.
	SigningKey ssh.Signer
	// Committer of what Slipway commits; default Slipway <slipway@localhost>.
	Committer api.Identity
}

// Mirrors keeps the bare mirrors below one folder. It is safe for concurrent use;
// another process must not use the same folder.
type Mirrors struct {
	dir  string
	opts Options
	// trusted and guarded carry http, for the administrators and for tenants.
	trusted, guarded http.RoundTripper

	// mu guards open.
	mu   sync.Mutex
	open map[string]*Mirror
}

// NewMirrors makes the folder where it does not exist.
func NewMirrors(dir string, opts Options) (*Mirrors, error) {
	if opts.MaxPackBytes <= 0 {
		opts.MaxPackBytes = 2 << 30
	}
	if opts.Schemes == nil {
		opts.Schemes = []string{"http", "https", "ssh", "file"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirrors: %w", err)
	}
	if err := removeGone(dir); err != nil {
		return nil, fmt.Errorf("mirrors: %w", err)
	}
	m := &Mirrors{dir: dir, opts: opts, open: map[string]*Mirror{}, trusted: opts.RoundTripper, guarded: opts.RoundTripper}
	if opts.RoundTripper == nil {
		m.trusted, m.guarded = newHTTPTransport(nil), newGuarded(guard{opts.Reachable}, nil)
	}
	return m, nil
}

// Open is the mirror of a repository, empty if it was never fetched. scope is the
// project whose credentials fetch it, empty if it needs none.
func (m *Mirrors) Open(l Location, scope string) (*Mirror, error) { return m.OpenShallow(l, scope, 0) }

// Borrow is Open for what no GitRepository names: a build's source, a submodule. The
// mirror is kept for a while after.
func (m *Mirrors) Borrow(l Location, scope string) (*Mirror, error) {
	r, err := m.Open(l, scope)
	if err == nil {
		r.mu.Lock()
		r.borrowed = time.Now()
		r.mu.Unlock()
	}
	return r, err
}

// OpenShallow is Open of a mirror whose fetches bring depth commits of history; 0: all.
// Each depth has a mirror of its own.
func (m *Mirrors) OpenShallow(l Location, scope string, depth int) (*Mirror, error) {
	name := l.folder(scope)
	if depth > 0 {
		name = l.folder(fmt.Sprintf("%s\x00%d", scope, depth))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.open[name]; ok {
		return r, nil
	}
	r, err := openMirror(m, filepath.Join(m.dir, name), l, depth)
	if err != nil {
		return nil, fmt.Errorf("mirror of %s: %w", l, err)
	}
	m.open[name] = r
	return r, nil
}

// Close lets go of the files that mirrors hold open.
func (m *Mirrors) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for name, r := range m.open {
		errs = append(errs, r.objects.close())
		delete(m.open, name)
	}
	return errors.Join(errs...)
}

// client is the way to talk to l.
func (m *Mirrors) client(l Location, c Credentials) (transport.Transport, error) {
	if !slices.Contains(m.opts.Schemes, l.Scheme) {
		return nil, fmt.Errorf("%w: scheme %q is not one that this server fetches from", ErrURL, l.Scheme)
	}
	switch l.Scheme {
	case "http", "https":
		return m.httpClient(c)
	case "ssh":
		return gitssh.DefaultClient, nil
	case "git":
		return gitproto.DefaultClient, nil
	case "file":
		if !c.trusted || !m.fileAllowed(l.Fetch) {
			return nil, fmt.Errorf("%w: file URLs are allowed to administrators only, below the folders named at start", ErrURL)
		}
		return gitfile.DefaultClient, nil
	}
	return nil, fmt.Errorf("%w: scheme %q", ErrURL, l.Scheme)
}

// prepare is everything that a session takes. The host of a tenant's ssh or git URL is
// replaced by the address that was checked, which is then the one that is dialled.
func (m *Mirrors) prepare(ctx context.Context, l Location, c Credentials) (transport.Transport, *transport.Endpoint, transport.AuthMethod, error) {
	client, err := m.client(l, c)
	if err != nil {
		return nil, nil, nil, err
	}
	auth, err := c.auth(l)
	if err != nil {
		return nil, nil, nil, err
	}
	ep, err := transport.NewEndpoint(l.Fetch)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %s", ErrURL, l)
	}
	if (l.Scheme == "ssh" || l.Scheme == "git") && !c.trusted {
		host, port := l.hostPort()
		addr, err := guard{m.opts.Reachable}.resolve(ctx, host, port)
		if err != nil {
			return nil, nil, nil, err
		}
		ep.Host = addr.Addr().String()
	}
	return client, ep, auth, nil
}

// fileAllowed looks at where the path really leads: a symbolic link is no way out.
func (m *Mirrors) fileAllowed(fetch string) bool {
	real, err := filepath.EvalSymlinks(strings.TrimPrefix(fetch, "file://"))
	if err != nil {
		return false
	}
	for _, root := range m.opts.FileRoots {
		root, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, real); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}
