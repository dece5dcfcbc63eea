package sources

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

func TestTheMirrorOfADeletedRepositoryIsRemoved(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	dir := t.TempDir()
	r := run(t, statetest.New(t), dir)
	repo := shopRepository(h.url, nil)
	other := shopRepository(h.url, nil)
	other.Name = "other"
	r.create(repo)
	r.create(other)
	r.untilCommit(first)
	mirror := mustOpen(t, r, h.url)
	exists := func() bool {
		_, err := os.Stat(mirror.dir)
		return err == nil
	}
	// Both must have been looked at.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		r.mu.Lock()
		n := 0
		for _, l := range r.looks {
			if l.mirror != "" {
				n++
			}
		}
		r.mu.Unlock()
		if n == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not looked at")
		}
	}
	if err := r.client.Delete(context.Background(), other); err != nil {
		t.Fatal(err)
	}
	second := h.push("second", map[string]string{"f": "2"})
	r.Refresh(shop)
	repo = r.untilCommit(second)
	if !exists() {
		t.Fatal("a mirror that another repository uses was removed")
	}
	if err := r.client.Delete(context.Background(), repo); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); exists(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mirror is still there")
		}
	}
	// Made again, it is fetched again.
	r.create(shopRepository(h.url, nil))
	r.untilCommit(second)
}

func TestSweepOfMirrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, gonePrefix+"x", "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := newTestMirrors(t, dir, Options{})
	open := func(url string) *Mirror { r, _ := openTest(t, m, url); return r }
	kept, idle, borrowed, fresh := open("https://h.example/kept"), open("https://h.example/idle"), open("https://h.example/borrowed"), open("https://h.example/fresh")
	old := time.Now().Add(-100 * time.Hour)
	for _, r := range []*Mirror{kept, idle, borrowed} {
		if err := os.Chtimes(r.dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Borrow(mustParse(t, "https://h.example/borrowed"), ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Sweep(map[string]bool{kept.name(): true}, 10*time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, e := range entries {
		left[e.Name()] = true
	}
	if len(left) != 4 || !left[kept.name()] || !left[borrowed.name()] || !left[fresh.name()] || !left["notes"] {
		t.Errorf("left %v", left)
	}
	for _, name := range []string{"", "..", "notes", "../x"} {
		if err := m.Remove(name, time.Now()); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
}

func TestLFSPointersAreRefusedWhereSomethingReadsThem(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	text := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 12345\n"
	h.push("first", map[string]string{"apps/a.yaml": "a", "apps/big.json": text, "about.md": "git-lfs: " + text})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(git(t, h.work, "rev-parse", "HEAD"))
	rev, err := r.Revision(testContext(t), shop)
	if err != nil || readTest(t, rev.Tree, "apps/a.yaml") != "a" || readTest(t, rev.Tree, "about.md") == "" {
		t.Error(err)
	}
	if _, err := fs.ReadFile(rev.Tree, "apps/big.json"); !errors.Is(err, ErrLFS) || !errors.Is(err, api.ErrUnread) || !strings.Contains(err.Error(), "apps/big.json") {
		t.Errorf("error = %v", err)
	}
	rev, err = r.Source(testContext(t), h.url, "main", "", nil)
	if err != nil || readTest(t, rev.Tree, "apps/big.json") != text {
		t.Errorf("a build's source: %v", err)
	}
}
