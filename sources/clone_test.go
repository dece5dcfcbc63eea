package sources

import (
	"path/filepath"
	"testing"
)

// TestClonesAreReadHoweverGitKeepsThem reads loose objects, packs, a worktree, and objects
// that another repository has.
func TestClonesAreReadHoweverGitKeepsThem(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	git(t, work, "init", "--quiet", "--initial-branch=main")
	commitIn(t, work, "first", map[string]string{"d/f": "content"})
	packed, shared, linked := filepath.Join(t.TempDir(), "packed"), filepath.Join(t.TempDir(), "shared"), filepath.Join(t.TempDir(), "linked")
	git(t, "", "clone", "--quiet", "file://"+work, packed)
	git(t, "", "clone", "--quiet", "--shared", packed, shared)
	git(t, packed, "worktree", "add", "--quiet", linked)
	for _, dir := range []string{work, packed, shared, linked} {
		c, err := OpenClone(filepath.Join(dir, "d"))
		if err != nil {
			t.Fatal(err)
		}
		head, err := c.Commit("HEAD")
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(dir), err)
		}
		tree, err := c.Tree(head)
		if err != nil {
			t.Fatal(err)
		}
		if got := readTest(t, tree, "d/f"); got != "content" {
			t.Errorf("%s: d/f = %q", filepath.Base(dir), got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
