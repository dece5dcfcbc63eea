package sources

import (
	"os"
	"path/filepath"
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

func loose(mirror, hash string) string {
	return filepath.Join(mirror, "objects", hash[:2], hash[2:])
}

func TestKilledFetchIsMendedByTheNext(t *testing.T) {
	t.Parallel()
	h, mirror, reopen := crashed(t, map[string]string{"d/f": "1"})
	// The commit came, its tree did not, and the references were not written.
	if err := os.Remove(loose(mirror, git(t, h.work, "rev-parse", "HEAD:d"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(mirror, "packed-refs")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"objects/pack/tmp_obj_1", "objects/pack/pack-" + sha1OfNothing + ".idx", ".new-1"} {
		if err := os.WriteFile(filepath.Join(mirror, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, l := reopen()
	fetchTest(t, r, l)
	if got := readTest(t, treeAt(t, r, l, "main"), "d/f"); got != "1" {
		t.Errorf("d/f = %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(mirror, "objects/pack/*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	git(t, mirror, "fsck", "--strict")
}

const sha1OfNothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

func TestTornObjectsAreFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HEAD", "HEAD^{tree}", "HEAD:d", "HEAD:d/f"} {
		h, mirror, reopen := crashed(t, map[string]string{"d/f": "1"})
		torn := loose(mirror, git(t, h.work, "rev-parse", name))
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
