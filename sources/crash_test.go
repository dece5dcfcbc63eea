package sources

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"slipway.dev/slipway/sources/gitserver"
)

// crashed is a mirror on disk that holds a repository, and how to open it again.
func crashed(t *testing.T, files map[string]string) (h *gitHost, mirror string, reopen func() (*Mirror, Location)) {
	t.Helper()
	h = newHost(t, gitserver.Options{})
	h.push("first", files)
	dir := t.TempDir()
	m := newTestMirrors(t, dir, Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	return h, filepath.Join(dir, l.folder("")), func() (*Mirror, Location) {
		return openTest(t, newTestMirrors(t, dir, Options{}), h.url)
	}
}

// packed is the one pack of a mirror that was fetched once, without its ending.
func packed(t *testing.T, mirror string) string {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(mirror, "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	return strings.TrimSuffix(packs[0], ".pack")
}

func TestKilledFetchIsMendedByTheNext(t *testing.T) {
	t.Parallel()
	_, mirror, reopen := crashed(t, map[string]string{"d/f": "1"})
	// The index came, the pack did not, and the references were not written.
	for _, name := range []string{packed(t, mirror) + ".pack", filepath.Join(mirror, "packed-refs")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"objects/pack/tmp_obj_1", "objects/pack/pack-" + sha1OfNothing + ".idx", ".new-1"} {
		if err := os.WriteFile(filepath.Join(mirror, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, l := reopen()
	if left, err := filepath.Glob(filepath.Join(mirror, "objects/pack/*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	fetchTest(t, r, l)
	if got := readTest(t, treeAt(t, r, l, "main"), "d/f"); got != "1" {
		t.Errorf("d/f = %q", got)
	}
	git(t, mirror, "fsck", "--strict")
}

const sha1OfNothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

func TestTornPacksAreFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{".pack", ".idx"} {
		for _, keep := range []int64{0, 1, 2} { // nothing, half, all but the end
			_, mirror, reopen := crashed(t, map[string]string{"d/f": strings.Repeat("1234567890", 100)})
			torn := packed(t, mirror) + ending
			info, err := os.Stat(torn)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(torn, []int64{0, info.Size() / 2, info.Size() - 30}[keep]); err != nil {
				t.Fatal(err)
			}
			r, l := reopen()
			fetchTest(t, r, l)
			if got := readTest(t, treeAt(t, r, l, "main"), "d/f"); len(got) != 1000 {
				t.Errorf("%s torn: d/f = %q", ending, got)
			}
			git(t, mirror, "fsck", "--strict")
		}
	}
}

// TestTornObjectsAreFetchedAgain changes a byte within a pack whose end is right.
func TestTornObjectsAreFetchedAgain(t *testing.T) {
	t.Parallel()
	// Of files only what is before the content is looked at.
	for name, flip := range map[string]struct {
		at   int64
		bits byte
	}{"HEAD": {4, 0xff}, "HEAD^{tree}": {4, 0xff}, "HEAD:d": {4, 0xff}, "HEAD:d/f": {0, byte(plumbing.BlobObject) << 4}} {
		h, mirror, reopen := crashed(t, map[string]string{"d/f": "1"})
		p := openPacks(packFolder(mirror))
		place, err := p.find(plumbing.NewHash(git(t, h.work, "rev-parse", name)))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
		torn := packed(t, mirror) + ".pack"
		content, err := os.ReadFile(torn)
		if err != nil {
			t.Fatal(err)
		}
		content[place.at+flip.at] ^= flip.bits
		if err := os.WriteFile(torn, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, l := reopen()
		fetchTest(t, r, l)
		if got := readTest(t, treeAt(t, r, l, "main"), "d/f"); got != "1" {
			t.Errorf("%s torn: d/f = %q", name, got)
		}
		git(t, mirror, "fsck", "--strict")
	}
}

// TestNonsenseOfAServerIsNoDamage: what a server sent so is not thrown away with all that
// came before.
func TestNonsenseOfAServerIsNoDamage(t *testing.T) {
	t.Parallel()
	h, _, reopen := crashed(t, map[string]string{"d/f": "1"})
	good := git(t, h.work, "rev-parse", "HEAD")
	r, _ := reopen()
	tree := []byte("this is none")
	commit := fmt.Appendf(nil, "tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nbad\n", plumbing.ComputeHash(plumbing.TreeObject, tree))
	pack := packFrom(entry(t, plumbing.TreeObject, len(tree), nil, tree), entry(t, plumbing.CommitObject, len(commit), nil, commit))
	if err := r.objects.receive(bytes.NewReader(pack), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := r.set(refs{head: "refs/heads/main", names: map[string]plumbing.Hash{"refs/heads/main": plumbing.ComputeHash(plumbing.CommitObject, commit)}}); err != nil {
		t.Fatal(err)
	}
	h.server.Close()
	r, l := reopen()
	if _, err := fs.ReadFile(treeAt(t, r, l, "main"), "d/f"); err == nil {
		t.Error("nonsense was read")
	}
	if got := readTest(t, treeAt(t, r, l, good), "d/f"); got != "1" {
		t.Errorf("d/f of the last good commit = %q", got)
	}
}

// TestManySmallFetchesBecomeOnePack fetches often while a reader reads.
func TestManySmallFetchesBecomeOnePack(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"d/f": "0"})
	dir := t.TempDir()
	m := newTestMirrors(t, dir, Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	old := treeAt(t, r, l, first)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			case <-time.After(time.Millisecond):
				if b, err := fs.ReadFile(old, "d/f"); err != nil || string(b) != "0" {
					stopped <- fmt.Errorf("%q: %w", b, err)
					return
				}
			}
		}
	}()
	const fetches = maxSmallPacks + 5
	for i := range fetches {
		h.push("change", map[string]string{"d/f": fmt.Sprint("content ", i)})
		fetchTest(t, r, l)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error("a reader meanwhile:", err)
	}
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) > maxSmallPacks {
		t.Errorf("%d packs after %d fetches, %v", len(packs), fetches, err)
	}
	git(t, r.dir, "fsck", "--strict")
	again, l := openTest(t, newTestMirrors(t, dir, Options{}), h.url)
	if got := readTest(t, treeAt(t, again, l, "main"), "d/f"); got != fmt.Sprint("content ", fetches-1) {
		t.Errorf("d/f = %q", got)
	}
	if got := readTest(t, treeAt(t, again, l, first), "d/f"); got != "0" {
		t.Errorf("the first d/f = %q", got)
	}
}
