package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/sources/gitserver"
)

func TestFetchReadsTheTreeWithoutCheckout(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	if err := os.Symlink("/etc/passwd", filepath.Join(h.work, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(h.work, "dirlink")); err != nil {
		t.Fatal(err)
	}
	h.push("first", map[string]string{"README": "hello\n", "a/b/c.yaml": "x: 1\n", "a/d": "d"})
	dir := t.TempDir()
	m := newTestMirrors(t, dir, Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	tree := treeAt(t, r, l, "main")

	if got := readTest(t, tree, "a/b/c.yaml"); got != "x: 1\n" {
		t.Errorf("a/b/c.yaml = %q", got)
	}
	for _, name := range []string{"link", "dirlink/d"} {
		if _, err := fs.ReadFile(tree, name); !errors.Is(err, ErrSymlink) {
			t.Errorf("%s: %v, want ErrSymlink", name, err)
		}
	}
	if info, err := fs.Stat(tree, "link"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("stat of a link: %v %v", info, err)
	}
	if to, err := fs.ReadLink(tree, "link"); err != nil || to != "/etc/passwd" {
		t.Errorf("readlink: %q %v", to, err)
	}
	for _, name := range []string{"../x", "/README", "a//b", "nope", "README/x", "a/../README"} {
		if _, err := fs.ReadFile(tree, name); err == nil {
			t.Errorf("%s could be read", name)
		}
	}
	git(t, h.work, "rm", "-q", "link", "dirlink")
	h.push("no links", nil)
	fetchTest(t, r, l)
	if err := fstest.TestFS(treeAt(t, r, l, "main"), "README", "a/b/c.yaml", "a/d"); err != nil {
		t.Error(err)
	}
	// git itself accepts the mirror.
	mirror := filepath.Join(dir, l.folder(""))
	git(t, mirror, "fsck", "--strict")
	if got, want := git(t, mirror, "rev-parse", "main"), git(t, h.work, "rev-parse", "HEAD"); got != want {
		t.Errorf("mirror's main is %s, want %s", got, want)
	}
}

func TestFetchFollowsForcedPushesAndKeepsWhatWas(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("base", map[string]string{"f": "0"})
	old := h.push("old", map[string]string{"f": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)

	git(t, h.work, "reset", "--quiet", "--hard", "HEAD~1")
	commitIn(t, h.work, "rewritten", map[string]string{"f": "2"})
	git(t, h.work, "push", "--quiet", "--force", "origin", "HEAD")
	git(t, h.bare, "gc", "--quiet", "--prune=now")
	fetchTest(t, r, l)
	if got := readTest(t, treeAt(t, r, l, "main"), "f"); got != "2" {
		t.Errorf("f = %q after the forced push", got)
	}
	if got := readTest(t, treeAt(t, r, l, old), "f"); got != "1" {
		t.Errorf("f = %q in the old commit", got)
	}
	t1, _ := anyRef(r.current(), "main")
	t2, _ := anyRef(refs{}, old)
	if yes, sure := r.descends(t1.hash, t2.hash); yes || !sure {
		t.Errorf("descends = %v, %v after a rewrite", yes, sure)
	}
}

func TestFetchOfAnEmptiedOrFailingRepositoryKeepsTheMirror(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrEmpty) {
		t.Fatalf("empty repository: %v", err)
	}
	h.push("first", map[string]string{"f": "1"})
	fetchTest(t, r, l)
	before := r.current()
	git(t, h.bare, "update-ref", "-d", "refs/heads/main")
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("emptied repository: %v", err)
	}
	h.server.Close()
	if err := r.Fetch(testContext(t), l, Credentials{}); err == nil {
		t.Error("no error without a server")
	}
	if !r.current().equal(before) {
		t.Error("the references changed")
	}
	if got := readTest(t, treeAt(t, r, l, ""), "f"); got != "1" {
		t.Errorf("f = %q", got)
	}
}

func TestMirrorOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	git(t, h.work, "tag", "-a", "v1.0", "-m", "one")
	git(t, h.work, "push", "--quiet", "origin", "v1.0")
	dir := t.TempDir()
	m := newTestMirrors(t, dir, Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	h.server.Close()

	again := newTestMirrors(t, dir, Options{})
	r2, l := openTest(t, again, h.url)
	if !r2.current().equal(r.current()) {
		t.Errorf("references after a restart: %v, want %v", r2.current(), r.current())
	}
	for _, ref := range []string{"", "main", "v1.0", "refs/tags/v1.0"} {
		if got := readTest(t, treeAt(t, r2, l, ref), "f"); got != "1" {
			t.Errorf("%q: f = %q", ref, got)
		}
	}
	if list := tags(r2.current()); len(list) != 1 || list[0].Commit != git(t, h.work, "rev-parse", "HEAD") {
		t.Errorf("tags = %v", list)
	}
}

func TestFetchOfALargeHistoryIsAPack(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	files := map[string]string{}
	for i := range fewObjects + 10 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprintf("content %d", i)
	}
	h.push("many", files)
	dir := t.TempDir()
	m := newTestMirrors(t, dir, Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	packs, err := filepath.Glob(filepath.Join(dir, l.folder(""), "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Errorf("packs = %v, %v", packs, err)
	}
	h.push("one more", map[string]string{"d0/f0": "changed"})
	fetchTest(t, r, l)
	tree := treeAt(t, r, l, "main")
	for name, want := range files {
		if name == "d0/f0" {
			want = "changed"
		}
		if got := readTest(t, tree, name); got != want {
			t.Fatalf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestHostileReferencesAreLeftOut(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	head := h.push("first", map[string]string{"f": "1"})
	// git would not make these: they are written as a hostile server's own.
	packed := "# pack-refs with: peeled fully-peeled sorted \n" + head + " refs/heads/main\n"
	f, err := os.OpenFile(filepath.Join(h.bare, "packed-refs"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, packed)
	f.Close()
	hostile := []string{"refs/heads/--upload-pack=touch", "refs/heads/x.lock", "refs/heads/../../config", "refs/heads/a@{b", "refs/heads/" + strings.Repeat("x", 4096), "refs/heads/ok"}
	var lines []string
	for _, name := range hostile {
		lines = append(lines, head+" "+name)
	}
	fake := advertise(t, head, lines)
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	lf, err := ParseURL(fake + "/shop.git")
	if err != nil {
		t.Fatal(err)
	}
	// The objects are here already, so that only the references of the fake count.
	if err := r.Fetch(testContext(t), lf, Credentials{}); err != nil {
		t.Fatal(err)
	}
	for name := range r.current().names {
		if name != "refs/heads/main" && name != "refs/heads/ok" {
			t.Errorf("%.60q was taken", name)
		}
	}
	if _, ok := r.current().names["refs/heads/ok"]; !ok {
		t.Error("an honest reference beside hostile ones was lost")
	}
}

// advertise is a server that advertises whatever it is told to.
func advertise(t *testing.T, head string, lines []string) string {
	t.Helper()
	pkt := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, pkt("# service=git-upload-pack\n"), "0000", pkt(head+" HEAD\x00symref=HEAD:refs/heads/main ofs-delta\n"))
		fmt.Fprint(w, pkt(head+" refs/heads/main\n"))
		for _, line := range lines {
			fmt.Fprint(w, pkt(line+"\n"))
		}
		fmt.Fprint(w, "0000")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{Users: map[string]string{"robot": "s3cret"}})
	h.push("first", map[string]string{"f": "1"})
	creds := CredentialsFrom(&corev1.Secret{Data: map[string][]byte{"username": []byte("robot"), "password": []byte("s3cret")}})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	err := r.Fetch(testContext(t), l, Credentials{})
	if !errors.Is(err, transport.ErrAuthenticationRequired) || reason(err) != ReasonAuthenticationFailed {
		t.Errorf("without credentials: %v", err)
	}
	if err := r.Fetch(testContext(t), l, creds); err != nil {
		t.Errorf("with credentials: %v", err)
	}

	var leaked, reached atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		reached.Store(true)
		if req.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		http.NotFound(w, req)
	}))
	defer thief.Close()
	bait := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, thief.URL+req.URL.RequestURI(), http.StatusFound)
	}))
	defer bait.Close()
	for _, c := range []Credentials{creds, CredentialsFrom(&corev1.Secret{Data: map[string][]byte{"bearerToken": []byte("s3cret")}})} {
		rb, lb := openTest(t, m, bait.URL+"/shop.git")
		err := rb.Fetch(testContext(t), lb, c)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("through a redirect: %v", err)
		}
	}
	if !reached.Load() || leaked.Load() {
		t.Errorf("redirect reached = %v, credentials leaked = %v", reached.Load(), leaked.Load())
	}
}

func TestASilentServerIsGivenUpAndDelaysNobody(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	stuck, ls := openTest(t, m, "http://"+silent.Addr().String()+"/x.git")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- stuck.Fetch(ctx, ls, Credentials{}) }()
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	select {
	case err := <-done:
		t.Fatalf("the silent server answered: %v", err)
	default:
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a cancelled fetch goes on")
	}
}

func TestFileURLsOnlyBelowTheirRoots(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	for _, c := range []struct {
		roots []string
		ok    bool
	}{{nil, false}, {[]string{t.TempDir()}, false}, {[]string{h.root}, true}} {
		m := newTestMirrors(t, t.TempDir(), Options{FileRoots: c.roots})
		r, l := openTest(t, m, "file://"+h.bare)
		if err := r.Fetch(testContext(t), l, Credentials{trusted: true}); (err == nil) != c.ok {
			t.Errorf("roots %v: %v", c.roots, err)
		}
	}
	// A link below a root is no way out of it.
	inside := t.TempDir()
	if err := os.Symlink(h.bare, filepath.Join(inside, "link.git")); err != nil {
		t.Fatal(err)
	}
	m := newTestMirrors(t, t.TempDir(), Options{FileRoots: []string{inside}})
	r, l := openTest(t, m, "file://"+inside+"/link.git")
	if err := r.Fetch(testContext(t), l, Credentials{trusted: true}); !errors.Is(err, ErrURL) {
		t.Errorf("through a link: %v", err)
	}
	// Tenants do not read this host's files, wherever they are.
	m = newTestMirrors(t, t.TempDir(), Options{FileRoots: []string{h.root}})
	r, l = openTest(t, m, "file://"+h.bare)
	if err := r.Fetch(testContext(t), l, Credentials{}); !errors.Is(err, ErrURL) {
		t.Errorf("by a tenant: %v", err)
	}
}

func TestOversizedPackIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": strings.Repeat("0123456789abcdef", 4096)})
	m := newTestMirrors(t, t.TempDir(), Options{MaxPackBytes: 100})
	r, l := openTest(t, m, h.url)
	if err := r.Fetch(testContext(t), l, Credentials{trusted: true}); !errors.Is(err, errTooLarge) {
		t.Errorf("error = %v", err)
	}
	if len(r.current().names) != 0 {
		t.Error("references of objects that were not taken")
	}
}

func TestHostileTreeIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	blob := git(t, h.bare, "rev-parse", "main:f")
	cmd := exec.Command("git", "-C", h.bare, "mktree")
	cmd.Stdin = strings.NewReader("100644 blob " + blob + "\t.GIT\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := git(t, h.bare, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "bad", strings.TrimSpace(string(out)))
	git(t, h.bare, "update-ref", "refs/heads/main", commit)
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	if _, err := fs.ReadDir(treeAt(t, r, l, "main"), "."); err == nil || !strings.Contains(err.Error(), ".GIT") {
		t.Errorf("error = %v", err)
	}
}
