package sources

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitfile "github.com/go-git/go-git/v5/plumbing/transport/file"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"slipway.dev/slipway/api"
)

// Options says what mirrors may fetch.
type Options struct {
	// FileRoots are the folders below which repositories with file URLs may lie; none by
	// default, because such a URL reads this host's own files.
	FileRoots []string
	// MaxPackBytes bounds what one fetch brings in; default 2 GiB.
	MaxPackBytes int64
	// RoundTripper carries http and https; default is a transport with timeouts for
	// connections.
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

	// mu guards open.
	mu   sync.Mutex
	open map[string]*Mirror
}

// NewMirrors makes the folder where it does not exist.
func NewMirrors(dir string, opts Options) (*Mirrors, error) {
	if opts.MaxPackBytes <= 0 {
		opts.MaxPackBytes = 2 << 30
	}
	if opts.RoundTripper == nil {
		opts.RoundTripper = newHTTPTransport(nil)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirrors: %w", err)
	}
	return &Mirrors{dir: dir, opts: opts, open: map[string]*Mirror{}}, nil
}

// Open is the mirror of a repository, empty if it was never fetched. scope is the
// project whose credentials fetch it, empty if it needs none.
func (m *Mirrors) Open(l Location, scope string) (*Mirror, error) {
	name := l.folder(scope)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.open[name]; ok {
		return r, nil
	}
	r, err := openMirror(m, filepath.Join(m.dir, name), l)
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
	switch l.Scheme {
	case "http", "https":
		return httpClient(m.opts.RoundTripper, c.ca)
	case "ssh":
		return gitssh.DefaultClient, nil
	case "file":
		if !m.fileAllowed(l.Fetch) {
			return nil, fmt.Errorf("%w: file URLs are allowed only below the folders named at start", ErrURL)
		}
		return gitfile.DefaultClient, nil
	}
	return nil, fmt.Errorf("%w: scheme %q", ErrURL, l.Scheme)
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
