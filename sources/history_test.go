package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

// branches pushes a history with a merge: main 0-1-M-3, side 0-a-b merged into M, and
// work, which leaves from 1.
func branches(t *testing.T, h *gitHost) map[string]string {
	t.Helper()
	c := map[string]string{}
	c["0"] = h.push("0", map[string]string{"a": "0", "b": "0", "dir/x": "0", "dir/y": "0", "gone": "0"})
	git(t, h.work, "checkout", "-q", "-b", "side")
	c["a"] = h.push("a\n\nSlipway-Approve: 1", map[string]string{"s": "1"})
	c["b"] = h.push("b", map[string]string{"s": "2"})
	git(t, h.work, "checkout", "-q", "main")
	c["1"] = h.push("1", map[string]string{"a": "1"})
	git(t, h.work, "checkout", "-q", "-b", "work")
	c["w"] = h.push("w", map[string]string{"dir/x": "w", "new/file": "w", "gone": ""})
	git(t, h.work, "checkout", "-q", "main")
	git(t, h.work, "merge", "-q", "--no-ff", "-m", "M", "side")
	c["M"] = git(t, h.work, "rev-parse", "HEAD")
	c["3"] = h.push("3", map[string]string{"dir/y": "3"})
	return c
}

func TestLogIsGits(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	c := branches(t, h)
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(c["3"])
	key := shop
	for _, span := range [][2]string{{"0", "3"}, {"1", "3"}, {"M", "3"}, {"b", "3"}, {"", "3"}, {"3", "0"}, {"w", "3"}, {"3", "w"}, {"1", "1"}} {
		words := []string{"rev-list", c[span[1]]}
		if span[0] != "" {
			words = append(words, "^"+c[span[0]])
		}
		want := strings.Fields(git(t, h.work, words...))
		log, err := r.History(testContext(t), key, c[span[0]], c[span[1]], 100)
		if err != nil {
			t.Fatal(err)
		}
		got := hashes(log)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s..%s: %q, git says %q", span[0], span[1], got, want)
		}
	}
	log, err := r.History(testContext(t), key, c["0"], c["3"], 2)
	if err != nil || len(log) != 2 || log[0].Hash != c["3"] || log[0].Author != "Ada <ada@example.org>" || log[0].Message != "3\n" {
		t.Errorf("two of them: %+v, %v", log, err)
	}
	if _, err := r.History(testContext(t), key, "", strings.Repeat("1", 40), 2); err == nil {
		t.Error("a commit that is not there has a history")
	}
}

func hashes(log []api.Commit) []string {
	var out []string
	for _, c := range log {
		out = append(out, c.Hash)
	}
	return out
}

func filesOf(t *testing.T, tree fs.FS) string {
	t.Helper()
	var all []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all = append(all, fmt.Sprintf("%s=%s", name, readTest(t, tree, name)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestMergedIsWhatGitMerges(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	c := branches(t, h)
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(c["3"])
	key := shop
	for ref, want := range map[string]string{
		"work": "a=1 b=0 dir/x=w dir/y=3 new/file=w s=2", // both sides' changes, and what work deleted
		"side": "a=1 b=0 dir/x=0 dir/y=3 gone=0 s=2",     // merged before
		c["0"]: "a=1 b=0 dir/x=0 dir/y=3 gone=0 s=2",     // an ancestor
	} {
		rev, err := r.Merged(testContext(t), key, ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := filesOf(t, rev.Tree); got != want {
			t.Errorf("%s: %s\nwant %s", ref, got, want)
		}
	}
	git(t, h.work, "checkout", "-q", "-b", "clash", "main")
	clash := h.push("clash", map[string]string{"dir/y": "clash", "a": "clash", "b": "clash"})
	git(t, h.work, "checkout", "-q", "main")
	last := h.push("4", map[string]string{"dir/y": "4", "a": ""})
	r.Refresh(shop)
	r.untilCommit(last)
	_, err := r.Merged(testContext(t), key, clash)
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "both sides changed a, dir/y;") {
		t.Errorf("a conflict: %v", err)
	}
}
