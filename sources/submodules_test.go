package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

// another makes a second repository at the host, with one commit.
func (h *gitHost) another(name string, files map[string]string, modules ...declared) (commit string) {
	h.t.Helper()
	bare, err := gitserver.Init(gitserver.Repository{Root: h.root, Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	work := filepath.Join(h.t.TempDir(), name)
	git(h.t, "", "clone", "--quiet", bare, work)
	git(h.t, work, "symbolic-ref", "HEAD", "refs/heads/main")
	return h.link(work, files, modules...)
}

// link commits files and submodules; a submodule's url is `commit url`.
func (h *gitHost) link(work string, files map[string]string, modules ...declared) string {
	h.t.Helper()
	if files == nil {
		files = map[string]string{}
	}
	text := ""
	for _, m := range modules {
		commit, url, _ := strings.Cut(m.url, " ")
		git(h.t, work, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+m.path)
		if url != "" {
			text += fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", m.path, m.path, url)
		}
	}
	if text != "" {
		files[".gitmodules"] = text
	}
	commitFiles(h.t, work, files)
	git(h.t, work, "push", "--quiet", "origin", "HEAD")
	return git(h.t, work, "rev-parse", "HEAD")
}

// commitFiles is commitIn without `git add -A`, which would drop submodules that are not checked out.
func commitFiles(t testing.TB, work string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		cmd := exec.Command("git", "-C", work, "hash-object", "-w", "--stdin")
		cmd.Stdin = strings.NewReader(content)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		git(t, work, "update-index", "--add", "--cacheinfo", "100644,"+strings.TrimSpace(string(out))+","+name)
	}
	git(t, work, "commit", "--quiet", "--allow-empty", "-m", "change")
}

func TestSubmodulesAreRefusedWhereSomethingReadsThem(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	lib := h.another("lib", map[string]string{"x.libsonnet": "{}"})
	h.link(h.work, map[string]string{"apps/shop/a.yaml": "a", "other/b.yaml": "b"}, declared{"apps/shop/lib", lib + " ../lib.git"})
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	fetchTest(t, r, l)
	tree := treeAt(t, r, l, "main")
	if got := readTest(t, tree, "apps/shop/a.yaml") + readTest(t, tree, "other/b.yaml"); got != "ab" {
		t.Errorf("beside a submodule: %q", got)
	}
	if list, err := fs.ReadDir(tree, "apps/shop"); err != nil || len(list) != 2 || !list[1].IsDir() {
		t.Errorf("listing: %v, %v", list, err)
	}
	_, read := fs.ReadFile(tree, "apps/shop/lib/x.libsonnet")
	_, list := fs.ReadDir(tree, "apps/shop/lib")
	walk := fs.WalkDir(tree, "apps", func(_ string, _ fs.DirEntry, err error) error { return err })
	for _, err := range []error{read, list, walk} {
		if !errors.Is(err, ErrSubmodule) || !errors.Is(err, api.ErrUnread) || !strings.Contains(err.Error(), "apps/shop/lib") || !strings.Contains(err.Error(), "recurseSubmodules") {
			t.Errorf("error = %v", err)
		}
	}
	if err := fs.WalkDir(tree, "other", func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
		t.Error(err)
	}
}

func recursing(s *v1alpha1.GitRepositorySpec) { s.RecurseSubmodules = true }

func TestSubmodulesAreReadWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	deep := h.another("deep", map[string]string{"f": "deep", "hidden": "x", ".sourceignore": "hidden\n"})
	lib := h.another("lib", map[string]string{"x": "lib", "y/z": "z"}, declared{"vendor/deep", deep + " ../deep.git"})
	newer := lib
	first := h.link(h.work, map[string]string{"f": "1"}, declared{"lib", lib + " ../lib.git"}, declared{"again", lib + " " + h.server.URL + "/lib"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, recursing))
	r.untilCommit(first)
	rev, err := r.Revision(testContext(t), shop)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"f": "1", "lib/x": "lib", "lib/y/z": "z", "lib/vendor/deep/f": "deep", "again/vendor/deep/f": "deep"} {
		if got := readTest(t, rev.Tree, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if _, err := fs.Stat(rev.Tree, "lib/vendor/deep/hidden"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hidden: %v", err)
	}
	sub, err := fs.Sub(rev.Tree, "lib/vendor")
	if err != nil || readTest(t, sub, "deep/f") != "deep" {
		t.Error("a folder in a submodule", err)
	}
	if digestOf(t, rev.Tree, "lib") == digestOf(t, treeAt(t, mustOpen(t, r, h.url), mustParse(t, h.url), "main"), "lib") {
		t.Error("a submodule that is read and one that is not have one digest")
	}

	// The submodule moves on; what differs is found inside of it.
	git(t, h.root, "clone", "--quiet", filepath.Join(h.root, "lib.git"), filepath.Join(t.TempDir(), "x"))
	work := filepath.Join(t.TempDir(), "lib")
	git(t, "", "clone", "--quiet", filepath.Join(h.root, "lib.git"), work)
	commitFiles(t, work, map[string]string{"y/new": "1"})
	git(t, work, "push", "--quiet", "origin", "HEAD")
	newer = git(t, work, "rev-parse", "HEAD")
	second := h.link(h.work, nil, declared{"lib", newer + " ../lib.git"}, declared{"again", lib + " " + h.server.URL + "/lib"})
	r.Refresh(shop)
	r.untilCommit(second)
	if got, err := r.Changes(testContext(t), shop, first, second); err != nil || strings.Join(got, " ") != "lib/y/new" {
		t.Errorf("changes %v, %v", got, err)
	}

	// All of it is here: no server is needed.
	h.server.Close()
	if rev, err := r.Revision(testContext(t), shop); err != nil || readTest(t, rev.Tree, "lib/vendor/deep/f") != "deep" {
		t.Error("without the server:", err)
	}
	// A build's source is the same.
	if rev, err := r.RevisionAt(testContext(t), shop, first); err != nil || readTest(t, rev.Tree, "lib/y/z") != "z" {
		t.Error("the first commit:", err)
	}
}

func mustParse(t *testing.T, url string) Location {
	t.Helper()
	l, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustOpen(t *testing.T, r *running, url string) *Mirror {
	t.Helper()
	m, err := r.Mirrors.Open(mustParse(t, url), shop.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBuildsReadSubmodules(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	lib := h.another("lib", map[string]string{"x": "lib"})
	h.link(h.work, map[string]string{"f": "1"}, declared{"lib", lib + " ./../lib.git"})
	r := run(t, statetest.New(t), t.TempDir())
	rev, err := r.Source(testContext(t), h.url, "main", "", nil)
	if err != nil || readTest(t, rev.Tree, "lib/x") != "lib" {
		t.Error(err)
	}
}

func TestSubmodulesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	lib := h.another("lib", map[string]string{"x": "lib"})
	inner := lib
	for i := range maxModuleDepth + 1 {
		inner = h.another(fmt.Sprintf("nest%d", i), nil, declared{"in", inner + " ../" + map[bool]string{true: "lib", false: fmt.Sprintf("nest%d", i-1)}[i == 0]})
	}
	self := git(t, h.bare, "hash-object", "-t", "tree", "-w", "/dev/null")
	for _, c := range []struct{ name, url, want string }{
		{"file", lib + " file://" + h.root + "/lib.git", "file URLs"},
		{"path", lib + " " + h.root + "/lib.git", "neither a URL"},
		{"credentials", lib + " http://robot:s3cret@127.0.0.1/x", "credentials"},
		{"option", lib + " --upload-pack=touch", "neither a URL"},
		{"ext", lib + " ext::sh", "URL"},
		{"out", lib + " ../../../../../x", "out of its host"},
		{"missing", strings.Repeat("1", 40) + " ../lib.git", "not our ref"},
		{"elsewhere", lib + " ../nope.git", "not found"},
		{"tree", self + " ../lib.git", "no such revision"},
		{"deep", inner + fmt.Sprintf(" ../nest%d.git", maxModuleDepth), "5 deep"},
	} {
		git(t, h.work, "checkout", "--quiet", "--orphan", c.name)
		h.link(h.work, map[string]string{"f": "1"}, declared{"mod/" + c.name, c.url})
		r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{FileRoots: []string{h.root}}), h.url)
		s := New(Deps{Mirrors: r.owner})
		p := placeAt(r, l, Credentials{}, &v1alpha1.GitRepositoryRef{Branch: c.name})
		recursing(&p.repo.Spec)
		out := s.look(testContext(t), p)
		if out.err == nil || !strings.Contains(out.err.Error(), c.want) || strings.Contains(out.err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", c.name, out.err, c.want)
		}
		git(t, h.work, "update-index", "--force-remove", "mod/"+c.name)
	}
	// Hidden, undeclared or not there: nothing is asked for.
	git(t, h.work, "checkout", "--quiet", "--orphan", "quiet")
	h.link(h.work, map[string]string{"f": "1", ".sourceignore": "/hidden\n"}, declared{"hidden", lib + " http://127.0.0.1:1/x"}, declared{"undeclared", lib})
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	p := placeAt(r, l, Credentials{}, &v1alpha1.GitRepositoryRef{Branch: "quiet"})
	recursing(&p.repo.Spec)
	if out := New(Deps{Mirrors: r.owner}).look(testContext(t), p); out.err != nil {
		t.Error(out.err)
	}
	at, err := anyRef(r.current(), "quiet")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := p.revision(testContext(t), at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadDir(rev.Tree, "undeclared"); !errors.Is(err, ErrSubmodule) || !strings.Contains(err.Error(), ".gitmodules") {
		t.Errorf("undeclared: %v", err)
	}
}

// TestASubmoduleElsewhereGetsNoCredentials has one submodule at the same host and one at another.
func TestASubmoduleElsewhereGetsNoCredentials(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{Users: map[string]string{"robot": "s3cret"}})
	lib := h.another("lib", map[string]string{"x": "lib"})
	var leaked atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		http.NotFound(w, req)
	}))
	t.Cleanup(thief.Close)
	creds := CredentialsFrom(secretOf(map[string]string{"username": "robot", "password": "s3cret"}))
	look := func(branch string) outcome {
		r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
		p := placeAt(r, l, creds, &v1alpha1.GitRepositoryRef{Branch: branch})
		recursing(&p.repo.Spec)
		return New(Deps{Mirrors: r.owner}).look(testContext(t), p)
	}
	h.link(h.work, nil, declared{"lib", lib + " ../lib.git"})
	if out := look("main"); out.err != nil {
		t.Errorf("the same host: %v", out.err)
	}
	git(t, h.work, "checkout", "--quiet", "--orphan", "bait")
	h.link(h.work, nil, declared{"lib", lib + " " + thief.URL + "/lib.git"})
	if out := look("bait"); out.err == nil || leaked.Load() {
		t.Errorf("another host: %v, leaked %v", out.err, leaked.Load())
	}
}

func TestAFailingSubmoduleKeepsTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, recursing))
	r.untilCommit(first)
	h.link(h.work, nil, declared{"lib", strings.Repeat("1", 40) + " ../nope.git"})
	r.Refresh(shop)
	repo := r.until("failing", func(_ *v1alpha1.GitRepository, c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "submodule lib")
	})
	if repo.Status.Artifact.Commit != first {
		t.Errorf("artifact %+v", repo.Status.Artifact)
	}
}

func TestRelativeSubmoduleURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ parent, raw, want string }{
		{"https://h.example/team/shop.git", "../lib.git", "https://h.example/team/lib"},
		{"https://h.example/team/shop", "../../other/lib", "https://h.example/other/lib"},
		{"https://h.example/team/shop", "./lib", "https://h.example/team/shop/lib"},
		{"git@h.example:team/shop.git", "../lib.git", "ssh://git@h.example/team/lib"},
		{"https://h.example/team/shop", "../../../lib", ""},
		{"https://h.example/team/shop", "../x/../lib", ""},
		{"https://h.example/team/shop", "../lib?x", ""},
		{"https://h.example/team/shop", "../%2e%2e/lib", ""},
		{"https://h.example/team/shop", "https://other.example/lib", "https://other.example/lib"},
	} {
		got, err := relativeTo(mustParse(t, c.parent), c.raw)
		if err == nil && got.String() != c.want || err != nil && c.want != "" {
			t.Errorf("%s from %s: %s, %v; want %q", c.raw, c.parent, got, err, c.want)
		}
	}
}

func FuzzGitmodules(f *testing.F) {
	f.Add("[submodule \"a\"]\n\tpath = a\n\turl = ../a.git\n", "https://h.example/x/y")
	f.Add("[submodule \"a\"]\n\tpath = ../a\n\turl = --upload-pack=x\n[submodule \"b\"]\npath=.git/x", "ssh://git@h/x")
	f.Fuzz(func(t *testing.T, text, parent string) {
		all, err := parseModules([]byte(text))
		if err != nil {
			return
		}
		l, err := ParseURL(parent)
		if err != nil {
			return
		}
		for _, d := range all {
			if !fs.ValidPath(d.path) || strings.Contains(d.path, ".git/") || strings.HasPrefix(d.path, "..") {
				t.Errorf("path %q", d.path)
			}
			at, err := relativeTo(l, d.url)
			if err == nil && (strings.HasPrefix(d.url, "./") || strings.HasPrefix(d.url, "../")) && (at.Host != l.Host || at.Scheme != l.Scheme) {
				t.Errorf("%q leads from %s to %s", d.url, l, at)
			}
		}
	})
}
