package sources

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

// TestTornObjectsAreFetchedAgain tears loose objects, as git itself may have left them.
func TestTornObjectsAreFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HEAD", "HEAD^{tree}", "HEAD:d", "HEAD:d/f"} {
		h, mirror, reopen := crashed(t, map[string]string{"d/f": "1"})
		pack, err := os.ReadFile(packed(t, mirror) + ".pack")
		if err != nil {
			t.Fatal(err)
		}
		base := packed(t, mirror)
		for _, ending := range []string{".pack", ".idx"} {
			if err := os.Remove(base + ending); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("git", "-C", mirror, "unpack-objects", "-q")
		cmd.Stdin = bytes.NewReader(pack)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		hash := git(t, h.work, "rev-parse", name)
		torn := filepath.Join(mirror, "objects", hash[:2], hash[2:])
		if err := os.Chmod(torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(torn, 0); err != nil {
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
			default:
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
