package sources

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

func TestChangesBetweenCommits(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	commits := []string{
		h.push("0", map[string]string{"a/x": "1", "a/y": "1", "b/deep/er/z": "1", "c": "1", "skip/me": "1", "run": "1"}),
		h.push("1", map[string]string{"a/x": "2", "skip/me": "2"}),
		h.push("2", map[string]string{"a/y": "", "b/deep/er/z": "", "b/deep/other": "1", "new": "1"}),
		h.push("3", map[string]string{"c": ""}),
		h.push("4", map[string]string{"c/now/a/folder": "1"}),
	}
	if err := os.Chmod(filepath.Join(h.work, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	commits = append(commits, h.push("5", nil),
		h.push("6", map[string]string{"a/.sourceignore": "x\n"}))
	if err := os.Remove(filepath.Join(h.work, "new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run", filepath.Join(h.work, "new")); err != nil {
		t.Fatal(err)
	}
	commits = append(commits, h.push("7", nil))
	r := run(t, statetest.New(t), t.TempDir())
	ignore := "skip/\n"
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.Ignore = &ignore }))
	r.untilCommit(commits[7])
	for _, c := range []struct {
		from, to int
		want     string
	}{
		{0, 0, ""},
		{0, 1, "a/x"},
		{1, 0, "a/x"},
		{1, 2, "a/y b/deep/er/z b/deep/other new"},
		{2, 4, "c c/now/a/folder"},
		{2, 3, "c"},
		{4, 5, "run"},
		{5, 6, "a/.sourceignore a/x"}, // x is hidden from now on
		{6, 7, "new"},
		{-1, 0, "a/x a/y b/deep/er/z c run"},
		{0, 7, "a/.sourceignore a/x a/y b/deep/er/z b/deep/other c c/now/a/folder new run"},
	} {
		from := ""
		if c.from >= 0 {
			from = commits[c.from]
		}
		got, err := r.Changes(testContext(t), shop, from, commits[c.to])
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%d..%d: %v, %v; want %s", c.from, c.to, got, err, c.want)
		}
	}
	for _, bad := range []string{"main", "", "--x", strings.Repeat("0", 40)} {
		if got, err := r.Changes(testContext(t), shop, commits[0], bad); !errors.Is(err, ErrNoRevision) && err == nil {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

// TestChangesAgreeWithGit compares with git's own list over a history of many kinds of change.
func TestChangesAgreeWithGit(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	var commits []string
	for i, files := range []map[string]string{
		{"a": "1", "d/a": "1", "d/b/c": "1", "d.x": "1", "d-x/y": "1"},
		{"d/a": "", "d/b/c": "", "d.x": "2"},
		{"d": "file", "a": ""},
		{"d": ""},
		{"d/a": "1", "d/b/c": "1", "a/b": "1"},
		nil,
	} {
		if _, ok := files["d"]; ok {
			if err := os.RemoveAll(filepath.Join(h.work, "d")); err != nil { // empty folders that git left
				t.Fatal(err)
			}
		}
		if files["d"] == "" {
			delete(files, "d")
		}
		commits = append(commits, h.push(string(rune('0'+i)), files))
	}
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(commits[len(commits)-1])
	for _, from := range commits {
		for _, to := range commits {
			got, err := r.Changes(testContext(t), shop, from, to)
			want := strings.Fields(git(t, h.bare, "diff-tree", "-r", "--name-only", "--no-renames", from, to))
			slices.Sort(want)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s..%s: %v, %v; git says %v", from, to, got, err, want)
			}
		}
	}
}

func digestOf(t *testing.T, tree fs.FS, name string) string {
	t.Helper()
	d, ok := tree.(api.TreeDigests).Digest(name)
	if !ok || d == "" {
		t.Fatalf("%s has no digest", name)
	}
	return d
}

func TestDigests(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("0", map[string]string{"a/x": "1", "a/y": "1", "b/x": "1", "b/y": "1", "c/x": "1", "c/y": "2"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	tree := func(ignore string) fs.FS {
		at, err := anyRef(r.current(), "main")
		if err != nil {
			t.Fatal(err)
		}
		rev, err := r.Revision(l, at, ignore)
		if err != nil {
			t.Fatal(err)
		}
		return rev.Tree
	}
	plain := tree("")
	if digestOf(t, plain, "a") != digestOf(t, plain, "b") || digestOf(t, plain, "a/x") != digestOf(t, plain, "b/y") {
		t.Error("the same content, other digests")
	}
	if digestOf(t, plain, "a") == digestOf(t, plain, "c") || digestOf(t, plain, "c/x") == digestOf(t, plain, "c/y") {
		t.Error("other content, the same digest")
	}
	if !strings.HasSuffix(digestOf(t, plain, "a"), git(t, h.bare, "rev-parse", "main:a")) {
		t.Error("a folder's digest is not git's")
	}
	hiding := tree("a/y\nb/x\n")
	if _, ok := hiding.(api.TreeDigests).Digest("a/y"); ok {
		t.Error("a hidden file has a digest")
	}
	if _, ok := plain.(api.TreeDigests).Digest("nope"); ok {
		t.Error("a missing file has a digest")
	}
	for _, name := range []string{".", "a", "b"} {
		if digestOf(t, hiding, name) == digestOf(t, plain, name) || digestOf(t, hiding, name) == digestOf(t, tree("a/x\n"), name) {
			t.Errorf("%s: patterns do not count", name)
		}
	}
	if digestOf(t, hiding, "a") == digestOf(t, hiding, "b") {
		t.Error("two folders that show different files have one digest")
	}
	if digestOf(t, hiding, "a/x") != digestOf(t, plain, "a/x") {
		t.Error("a file that is seen differs for what is not")
	}
	sub, err := fs.Sub(hiding, "a")
	if err != nil || digestOf(t, sub, ".") != digestOf(t, hiding, "a") || digestOf(t, sub, "x") != digestOf(t, plain, "a/x") {
		t.Error("a folder of its own has another digest", err)
	}

	before := digestOf(t, plain, "a")
	h.push("rules above", map[string]string{".sourceignore": "y\n"})
	fetchTest(t, r, l)
	if digestOf(t, tree(""), "a") == before {
		t.Error("a .sourceignore above a folder does not count")
	}
}

func TestSourceIgnoreFiles(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("0", map[string]string{
		".sourceignore":       "# comment\n*.md\n/docs\nbuild/\n**/cache\n",
		"README.md":           "1",
		"keep/README.md":      "1",
		"keep/.sourceignore":  "!README.md\nsecret.yaml\n/top\n",
		"keep/secret.yaml":    "1",
		"keep/in/secret.yaml": "1",
		"keep/top":            "1",
		"keep/in/top":         "1",
		"docs/x":              "1",
		"keep/docs/x":         "1",
		"build":               "a file",
		"keep/build/x":        "1",
		"keep/a/cache/x":      "1",
		"secret.yaml":         "1",
		"docs2/.sourceignore": "*\n!.sourceignore\n",
		"docs2/x":             "1",
	})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	fetchTest(t, r, l)
	at, err := anyRef(r.current(), "main")
	if err != nil {
		t.Fatal(err)
	}
	for ignore, want := range map[string]string{
		"":                     ".sourceignore build docs2/.sourceignore keep/.sourceignore keep/README.md keep/docs/x keep/in/top secret.yaml",
		"keep/\n!/README.md\n": ".sourceignore README.md build docs2/.sourceignore secret.yaml",
		"/*\n!/keep\n":         "keep/.sourceignore keep/README.md keep/a/cache/x keep/build/x keep/docs/x keep/in/secret.yaml keep/in/top keep/secret.yaml keep/top",
	} {
		rev, err := r.Revision(l, at, ignore)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = fs.WalkDir(rev.Tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				got = append(got, name)
				_, err = fs.ReadFile(rev.Tree, name)
			}
			return err
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q:\ngot  %s, %v\nwant %s", ignore, strings.Join(got, " "), err, want)
		}
	}
}
