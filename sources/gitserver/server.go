// Package gitserver serves bare repositories over HTTP with git's own http-backend,
// and lets their pushes call webhooks as a git host would. It is what `slipway demo`
// and the tests push to; a git host takes its place in earnest.
//
//	<root>/<name>.git/                  a bare repository
//	<root>/<name>.git/hooks.json        the webhooks to call after a push, mode 0600
//	<root>/<name>.git/hooks/post-receive  the script that calls them
package gitserver

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Options says what is served to whom.
type Options struct {
	// Root is the folder that holds the repositories.
	Root string
	// Prefix is the path under which the handler is mounted, without a trailing slash,
	// e.g. /git; empty: at the root.
	Prefix string
	// Users maps names to passwords; empty: everybody may read and push.
	Users map[string]string
	// Log gets what git complains about; may be nil.
	Log *slog.Logger
}

// maxChunked bounds a push whose length is not announced; such a push is kept in a
// temporary file, because CGI needs the length.
const maxChunked = 1 << 30

type server struct {
	opts    Options
	backend string
}

// New is the handler. It needs git on this machine.
func New(opts Options) (http.Handler, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("the git server needs git on this machine: %w", err)
	}
	out, err := exec.Command(git, "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, fmt.Errorf("git without its http-backend: %w", err)
	}
	if opts.Root, err = filepath.Abs(opts.Root); err != nil {
		return nil, err
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &server{opts, backend}, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, ok := s.user(req)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "authentication required", http.StatusUnauthorized)
		return
	}
	body, err := measured(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	defer body()
	said := &complaints{log: s.opts.Log.With("path", req.URL.Path)}
	defer said.flush()
	h := cgi.Handler{
		Path: s.backend,
		Root: s.opts.Prefix,
		Dir:  s.opts.Root,
		Env: []string{
			"GIT_PROJECT_ROOT=" + s.opts.Root,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_GLOBAL=/dev/null",
			"REMOTE_USER=" + user,
			"GIT_PROTOCOL=" + req.Header.Get("Git-Protocol"),
		},
		Stderr: said,
	}
	h.ServeHTTP(w, req)
}

func (s *server) user(req *http.Request) (string, bool) {
	if len(s.opts.Users) == 0 {
		return "anonymous", true
	}
	name, password, _ := req.BasicAuth()
	want, known := s.opts.Users[name]
	same := subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 1
	return name, known && same
}

// measured gives a chunked body its length; done removes what that took.
func measured(req *http.Request) (done func(), err error) {
	if len(req.TransferEncoding) == 0 || req.Body == nil {
		return func() {}, nil
	}
	f, err := os.CreateTemp("", "push-*")
	if err != nil {
		return nil, err
	}
	done = func() { f.Close(); os.Remove(f.Name()) }
	n, err := io.Copy(f, io.LimitReader(req.Body, maxChunked+1))
	if err == nil && n > maxChunked {
		err = errors.New("the push is too large")
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		done()
		return nil, err
	}
	req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(f), n, nil
	return done, nil
}

// complaints gathers what git writes to stderr, line by line.
type complaints struct {
	log  *slog.Logger
	left []byte
}

func (c *complaints) Write(p []byte) (int, error) {
	c.left = append(c.left, p...)
	for {
		line, rest, ok := bytes.Cut(c.left, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		c.log.Debug("git", "says", string(line))
		c.left = rest
	}
}

func (c *complaints) flush() {
	if len(c.left) > 0 {
		c.log.Debug("git", "says", string(c.left))
	}
}
