package sources

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway.dev/slipway/sources/gitserver"
)

// gitHost is a real git server with one repository and a working copy to push from.
type gitHost struct {
	t      testing.TB
	server *httptest.Server
	// bare is the repository's folder at the server, work the clone.
	root, bare, work string
	url              string
}

func newHost(t testing.TB, opts gitserver.Options) *gitHost {
	t.Helper()
	h := &gitHost{t: t, root: t.TempDir()}
	opts.Root = h.root
	handler, err := gitserver.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	h.serve(handler)
	if h.bare, err = gitserver.Init(gitserver.Repository{Root: h.root, Name: "shop", CloneURL: h.url}); err != nil {
		t.Fatal(err)
	}
	h.work = h.clone()
	return h
}

func (h *gitHost) serve(handler http.Handler) {
	h.server = httptest.NewServer(handler)
	h.t.Cleanup(h.server.Close)
	h.url = h.server.URL + "/shop.git"
}

func (h *gitHost) clone() string {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "work")
	git(h.t, "", "clone", "--quiet", h.bare, dir)
	git(h.t, dir, "symbolic-ref", "HEAD", "refs/heads/main")
	return dir
}

// push commits files (nil content: delete) and pushes the branch; it answers the commit.
func (h *gitHost) push(message string, files map[string]string) string {
	h.t.Helper()
	commit := commitIn(h.t, h.work, message, files)
	git(h.t, h.work, "push", "--quiet", "origin", "HEAD")
	return commit
}

func commitIn(t testing.TB, dir, message string, files map[string]string) string {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(dir, name)
		if files[name] == "" {
			if err := os.Remove(full); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "--quiet", "--allow-empty", "-m", message)
	return git(t, dir, "rev-parse", "HEAD")
}

// git runs the real git, away from the settings of whoever runs the tests.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// anywhere lets tests of tenants reach servers on this host.
func anywhere(netip.AddrPort) bool { return true }

func newTestMirrors(t testing.TB, dir string, opts Options) *Mirrors {
	t.Helper()
	if opts.Reachable == nil {
		opts.Reachable = anywhere
	}
	m, err := NewMirrors(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func openTest(t testing.TB, m *Mirrors, url string) (*Mirror, Location) {
	t.Helper()
	l, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Open(l, "")
	if err != nil {
		t.Fatal(err)
	}
	return r, l
}

func fetchTest(t testing.TB, r *Mirror, l Location, also ...string) {
	t.Helper()
	if err := r.Fetch(testContext(t), l, Credentials{}, also...); err != nil {
		t.Fatal(err)
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// treeAt is the tree of a branch, tag or commit of the mirror.
func treeAt(t testing.TB, r *Mirror, l Location, ref string) fs.FS {
	t.Helper()
	at, err := anyRef(r.current(), ref)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision(l, at, "")
	if err != nil {
		t.Fatal(err)
	}
	return rev.Tree
}

func readTest(t testing.TB, tree fs.FS, name string) string {
	t.Helper()
	b, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
