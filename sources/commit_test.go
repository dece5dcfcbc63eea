package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/sources/gitserver"
)

func TestCommit(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	if err := os.WriteFile(filepath.Join(h.work, "run.sh"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	head := h.push("first", map[string]string{"projects/prod/images.lock.json": "{}\n", "projects/prod/x.yaml": "x", "a/only": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	req := api.CommitRequest{
		Message:  "promote: frontend to prod",
		Trailers: []api.Trailer{{Key: "Promoted-From", Value: "shop-dev/frontend"}, {Key: "Git-Tag", Value: "v1.0\nEvil: yes"}},
		Author:   api.Identity{Name: "Ada <x>\n", Email: "ada@example.org"},
		Changes: func(tree fs.FS) (map[string][]byte, error) {
			if b, err := fs.ReadFile(tree, "projects/prod/images.lock.json"); err != nil || (string(b) != "{}\n" && string(b) != "new\n") {
				return nil, fmt.Errorf("read %q, %w", b, err)
			}
			return map[string][]byte{"projects/prod/images.lock.json": []byte("new\n"), "a/only": nil, "run.sh": []byte("#!/bin/sh\ntrue\n")}, nil
		},
	}
	commit, made, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, req)
	if err != nil || !made {
		t.Fatal(commit, made, err)
	}
	git(t, h.bare, "fsck", "--strict")
	if got := git(t, h.bare, "rev-parse", "main"); got != commit {
		t.Errorf("main = %s, want %s", got, commit)
	}
	if got := git(t, h.bare, "rev-list", "--count", head+".."+commit); got != "1" {
		t.Errorf("%s commits", got)
	}
	if got := git(t, h.bare, "diff", "--name-status", head, commit); got != "D\ta/only\nM\tprojects/prod/images.lock.json\nM\trun.sh" {
		t.Errorf("changes:\n%s", got)
	}
	if got := git(t, h.bare, "ls-tree", commit, "run.sh"); !strings.HasPrefix(got, "100755 ") {
		t.Errorf("mode: %s", got)
	}
	if got := git(t, h.bare, "log", "-1", "--format=%(trailers)|%an", commit); got != "Promoted-From: shop-dev/frontend\nGit-Tag: v1.0 Evil: yes\n|Ada x" {
		t.Errorf("trailers and author: %q", got)
	}
	if _, ok := r.current().names["refs/heads/main"]; !ok || !r.Has(commit) {
		t.Error("the mirror does not know its own commit")
	}

	again, made, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, req)
	if err == nil && (made || again != commit) {
		t.Errorf("the same change made %s after %s", again, commit)
	}
}

func TestCommitWithoutChangeMakesNone(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	head := h.push("first", map[string]string{"f": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	for _, changes := range []map[string][]byte{nil, {"f": []byte("1")}, {"gone": nil}} {
		got, made, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, api.CommitRequest{
			Changes: func(fs.FS) (map[string][]byte, error) { return changes, nil }})
		if err != nil || made || got != head {
			t.Errorf("%v: %s %v %v", changes, got, made, err)
		}
	}
	if got := git(t, h.bare, "rev-list", "--count", "main"); got != "1" {
		t.Errorf("%s commits", got)
	}
}

func TestCommitToAnEmptyRepository(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	commit, made, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, api.CommitRequest{
		Message: "first", Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{"a/b": []byte("1")}, nil }})
	if err != nil || !made {
		t.Fatal(made, err)
	}
	if got := git(t, h.bare, "show", commit+":a/b"); got != "1" {
		t.Errorf("a/b = %q", got)
	}
	fetchTest(t, r, l)
}

func TestRacingCommitsAllLand(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"log": "start\n"})
	const writers, each = 3, 3
	var wg sync.WaitGroup
	for w := range writers {
		// Each writer is a server of its own, with its own mirror.
		m := newTestMirrors(t, t.TempDir(), Options{})
		r, l := openTest(t, m, h.url)
		wg.Go(func() {
			for i := range each {
				line := fmt.Sprintf("writer %d commit %d\n", w, i)
				for {
					_, _, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, api.CommitRequest{Message: line,
						Changes: func(tree fs.FS) (map[string][]byte, error) {
							b, err := fs.ReadFile(tree, "log")
							return map[string][]byte{"log": append(b, line...)}, err
						}})
					if err == nil {
						break
					}
					if !errors.Is(err, ErrPush) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	log := git(t, h.bare, "show", "main:log")
	for w := range writers {
		for i := range each {
			if n := strings.Count(log, fmt.Sprintf("writer %d commit %d", w, i)); n != 1 {
				t.Errorf("writer %d commit %d is there %d times", w, i, n)
			}
		}
	}
	if got := git(t, h.bare, "rev-list", "--count", "--min-parents=2", "main"); got != "0" {
		t.Errorf("%s merges", got)
	}
}

func TestCommitIsNeverForcedAndSaysWhyItWasRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	head := h.push("first", map[string]string{"f": "1"})
	hook := "#!/bin/sh\necho branch main is protected >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(h.bare, "hooks", "pre-receive"), []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	_, _, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, api.CommitRequest{
		Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{"f": []byte("2")}, nil }})
	if !errors.Is(err, ErrPush) || !strings.Contains(err.Error(), "protected") {
		t.Errorf("error = %v", err)
	}
	if got := git(t, h.bare, "rev-parse", "main"); got != head {
		t.Errorf("main moved to %s", got)
	}
}

func TestCommitRefusesPathsOutsideOfTheTree(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	if err := os.Symlink("/etc/passwd", filepath.Join(h.work, "link")); err != nil {
		t.Fatal(err)
	}
	head := h.push("first", map[string]string{"f": "1", "d/e": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	for _, name := range []string{"../x", "/x", "", ".", ".git/config", "a/.GIT/x", "a//b", "f/x", "link", "link/x", "d", `a\b`} {
		_, _, err := r.Commit(context.Background(), l, Credentials{}, "main", time.Now, api.CommitRequest{
			Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{name: []byte("2")}, nil }})
		if err == nil {
			t.Errorf("%q was written", name)
		}
	}
	for _, branch := range []string{"--force", "../x", "a..b", "x.lock", ""} {
		if _, _, err := r.Commit(context.Background(), l, Credentials{}, branch, time.Now, api.CommitRequest{
			Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{"f": []byte("2")}, nil }}); err == nil {
			t.Errorf("branch %q was written", branch)
		}
	}
	if got := git(t, h.bare, "rev-parse", "main"); got != head {
		t.Errorf("main moved to %s", got)
	}
}

// changing asks for one file's new content.
func changing(name, content string) api.CommitRequest {
	return api.CommitRequest{Message: "change " + name, Changes: func(fs.FS) (map[string][]byte, error) {
		return map[string][]byte{name: []byte(content)}, nil
	}}
}
