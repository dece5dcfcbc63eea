package sources

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

func TestRestorePath(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	if err := os.MkdirAll(filepath.Join(h.work, "apps/shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x.yaml", filepath.Join(h.work, "apps/shop/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.work, "apps/shop/run.sh"), []byte("1"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := h.push("good", map[string]string{"apps/shop/x.yaml": "1", "apps/shop/gone/y": "1", "apps/other/z": "1", "root": "1"})
	if err := os.Remove(filepath.Join(h.work, "apps/shop/run.sh")); err != nil {
		t.Fatal(err)
	}
	bad := h.push("bad", map[string]string{"apps/shop/x.yaml": "2", "apps/shop/gone/y": "", "apps/shop/new": "1", "apps/other/z": "2", "root": "2"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(bad)

	trailers := []api.Trailer{{Key: "Slipway-Rollback", Value: "apps/shop"}}
	commit, err := r.RestorePath(testContext(t), shop, "", "apps/shop", good, "roll back shop", trailers)
	if err != nil {
		t.Fatal(err)
	}
	git(t, h.bare, "fsck", "--strict")
	if got := git(t, h.bare, "rev-list", "--parents", "-1", "main"); got != commit+" "+bad {
		t.Errorf("main is %s, want %s on top of %s", got, commit, bad)
	}
	if got := git(t, h.bare, "diff", "--name-status", good, commit, "--", "apps/shop"); got != "" {
		t.Errorf("apps/shop is not what it was:\n%s", got)
	}
	if got := git(t, h.bare, "diff", "--name-status", bad, commit, "--", ".", ":!apps/shop"); got != "" {
		t.Errorf("other paths changed:\n%s", got)
	}
	if got := git(t, h.bare, "log", "-1", "--format=%s|%(trailers:only)", commit); got != "roll back shop|Slipway-Rollback: apps/shop\n" && got != "roll back shop|Slipway-Rollback: apps/shop" {
		t.Errorf("message %q", got)
	}
	// Again: nothing to do.
	if again, err := r.RestorePath(testContext(t), shop, "main", "apps/shop", good, "roll back shop", trailers); err != nil || again != commit {
		t.Errorf("again: %s, %v", again, err)
	}
	// A file, and the whole tree.
	if _, err := r.RestorePath(testContext(t), shop, "main", "root", good, "file", nil); err != nil {
		t.Error(err)
	}
	if got := git(t, h.bare, "show", "main:root"); got != "1" {
		t.Errorf("root = %q", got)
	}
	if _, err := r.RestorePath(testContext(t), shop, "main", ".", bad, "all", nil); err != nil {
		t.Error(err)
	}
	if got := git(t, h.bare, "diff", "--name-status", bad, "main"); got != "" {
		t.Errorf("the whole tree is not what it was:\n%s", got)
	}
	head := git(t, h.bare, "rev-parse", "main")
	for _, c := range []struct{ path, commit string }{
		{"apps/none", good}, {"../x", good}, {"", good}, {"/apps", good}, {"apps/shop", "main"}, {"apps/shop", strings.Repeat("1", 40)}, {"root/x", good}, {"apps/shop/new", good},
	} {
		if got, err := r.RestorePath(testContext(t), shop, "main", c.path, c.commit, "m", nil); err == nil {
			t.Errorf("%q at %s was restored by %s", c.path, c.commit, got)
		}
	}
	if git(t, h.bare, "rev-parse", "main") != head {
		t.Error("a refused request wrote a commit")
	}
}

// TestRestoreOfWhatTheServerForgot restores from a commit that a forced push left behind.
func TestRestoreOfWhatTheServerForgot(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("base", map[string]string{"f": "0"})
	lost := h.push("lost", map[string]string{"a/x": "precious", "a/b/y": "too", "f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(lost)
	git(t, h.work, "reset", "--quiet", "--hard", "HEAD~1")
	now := commitIn(t, h.work, "rewritten", map[string]string{"f": "2"})
	git(t, h.work, "push", "--quiet", "--force", "origin", "HEAD")
	git(t, h.bare, "gc", "--quiet", "--prune=now")
	r.Refresh(shop)
	r.untilCommit(now)
	if _, err := r.RestorePath(testContext(t), shop, "main", "a", lost, "bring a back", nil); err != nil {
		t.Fatal(err)
	}
	git(t, h.bare, "fsck", "--strict")
	if got := git(t, h.bare, "show", "main:a/b/y") + git(t, h.bare, "show", "main:a/x") + git(t, h.bare, "show", "main:f"); got != "tooprecious2" {
		t.Errorf("restored %q", got)
	}
}

func TestANewBranchStartsFromItsBase(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	second := h.push("second", map[string]string{"f": "2"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.Reference = &v1alpha1.GitRepositoryRef{Branch: "main"} }))
	r.untilCommit(second)
	commit, err := r.RestorePath(testContext(t), shop, "slipway/rollback-f", "f", first, "roll back", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := git(t, h.bare, "rev-list", "--parents", "-1", "slipway/rollback-f"); got != commit+" "+second {
		t.Errorf("the branch is %s", got)
	}
	if got := git(t, h.bare, "rev-parse", "main"); got != second {
		t.Errorf("main moved to %s", got)
	}
	if _, err := r.Restore(context.Background(), api.CommitRequest{Repository: shop, Branch: "x", Base: "nope"}, "f", first); err == nil {
		t.Error("a branch came out of nothing")
	}
}
