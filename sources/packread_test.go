package sources

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"slipway.dev/slipway/sources/gitserver"
)

// grown is a working copy of a repository with deltas upon deltas, large files, tags and an
// empty file.
func grown(t testing.TB) string {
	t.Helper()
	work := t.TempDir()
	git(t, work, "init", "--quiet", "--initial-branch=main")
	random := rand.New(rand.NewPCG(1, 2))
	lines := make([]string, 6000)
	for i := range lines {
		lines[i] = fmt.Sprintf("%d: %x", i, random.Uint64())
	}
	for i := range 40 {
		for range 20 {
			lines[random.IntN(len(lines))] = fmt.Sprintf("%d: %x", i, random.Uint64())
		}
		commitIn(t, work, fmt.Sprint("change ", i), map[string]string{
			"large.txt": strings.Join(lines, "\n"), "d/small.txt": strings.Join(lines[:100], "\n"), fmt.Sprintf("d/e/%d.txt", i): fmt.Sprint(i, "\n"),
		})
	}
	if err := os.WriteFile(filepath.Join(work, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	commitIn(t, work, "empty", nil)
	git(t, work, "tag", "-a", "-m", "a tag", "v1")
	return work
}

// everyObject are the objects of a repository as git itself reads them.
func everyObject(t *testing.T, dir string) map[plumbing.Hash]packedObject {
	t.Helper()
	cmd := exec.Command("git", "-C", dir, "cat-file", "--batch", "--batch-all-objects")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[plumbing.Hash]packedObject{}
	for r := bufio.NewReader(bytes.NewReader(out)); ; {
		var hash, kind string
		var size int
		if _, err := fmt.Fscanf(r, "%s %s %d\n", &hash, &kind, &size); err != nil {
			break
		}
		content := make([]byte, size+1)
		if _, err := io.ReadFull(r, content); err != nil {
			t.Fatal(err)
		}
		k, err := plumbing.ParseObjectType(kind)
		if err != nil {
			t.Fatal(err)
		}
		all[plumbing.NewHash(hash)] = packedObject{k, content[:size]}
	}
	return all
}

// TestEveryObjectIsReadAsGitReadsIt reads packs that git, and a fetch, wrote in every way.
func TestEveryObjectIsReadAsGitReadsIt(t *testing.T) {
	t.Parallel()
	work := grown(t)
	store := filepath.Join(work, ".git")
	for _, way := range []struct {
		name string
		// pack makes the packs, and answers the repository that they are in.
		pack func(t *testing.T) string
		// kinds of delta that must be there.
		ofs, ref bool
	}{
		{"offsets", func(t *testing.T) string {
			git(t, work, "repack", "-adfq", "--depth=50")
			return store
		}, true, false},
		{"hashes", func(t *testing.T) string {
			git(t, work, "-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq", "--depth=50")
			return store
		}, false, true},
		{"large offsets", func(t *testing.T) string {
			git(t, work, "repack", "-adfq")
			pack := onePack(t, store)
			if err := os.Remove(pack + ".idx"); err != nil {
				t.Fatal(err)
			}
			git(t, work, "index-pack", "--index-version=2,0x1000", pack+".pack")
			return store
		}, true, false},
		{"several", func(t *testing.T) string {
			several := filepath.Join(t.TempDir(), "several.git")
			git(t, "", "init", "--quiet", "--bare", several)
			for i, tip := range []string{"HEAD~20", "HEAD~3", "v1"} {
				git(t, several, "fetch", "--quiet", "--no-tags", work, git(t, work, "rev-parse", tip)+fmt.Sprint(":refs/tags/t", i))
				git(t, several, "repack", "-dq")
			}
			return several
		}, true, true},
		{"fetched", func(t *testing.T) string {
			h := newHost(t, gitserver.Options{})
			git(t, work, "push", "--quiet", h.bare, "main", "v1")
			r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
			fetchTest(t, r, l)
			return r.dir
		}, true, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			dir := way.pack(t)
			want := everyObject(t, dir)
			// Go's order of a map makes every run ask in another order.
			sizes, contents := openPacks(packFolder(dir)), openPacks(packFolder(dir))
			defer sizes.close()
			defer contents.close()
			ofs, ref := false, false
			for h, o := range want {
				if n, err := sizes.size(h); err != nil || n != int64(len(o.content)) {
					t.Errorf("%s has %d bytes, not %d: %v", h, n, len(o.content), err)
				}
				got, err := contents.read(h)
				if err != nil || got.kind != o.kind || !bytes.Equal(got.content, o.content) {
					t.Errorf("%s is not as git reads it: %v", h, err)
				}
				place, err := contents.find(h)
				if err != nil {
					t.Fatal(err)
				}
				head, _, err := contents.header(place)
				if err != nil {
					t.Fatal(err)
				}
				ofs, ref = ofs || head.kind == plumbing.OFSDeltaObject, ref || head.kind == plumbing.REFDeltaObject
			}
			if len(want) < 200 || ofs != way.ofs || ref != way.ref {
				t.Errorf("%d objects, deltas upon offsets %v, upon hashes %v", len(want), ofs, ref)
			}
			if large := contents.open[0].index.large; (len(large) > 0) != (way.name == "large offsets") {
				t.Errorf("%d bytes of large offsets", len(large))
			}
			if _, err := contents.read(plumbing.NewHash(sha1OfNothing)); err != plumbing.ErrObjectNotFound {
				t.Errorf("what no pack has: %v", err)
			}
		})
	}
}

// onePack is the one pack of a repository, without its ending.
func onePack(t testing.TB, store string) string {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(packFolder(store), "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	return strings.TrimSuffix(packs[0], ".pack")
}

func TestClosedPacksStayClosed(t *testing.T) {
	t.Parallel()
	work := grown(t)
	git(t, work, "repack", "-adq")
	h := plumbing.NewHash(git(t, work, "rev-parse", "HEAD"))
	p := openPacks(packFolder(filepath.Join(work, ".git")))
	if _, err := p.read(h); err != nil {
		t.Fatal(err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.read(h); err == nil {
		t.Error("it was read after it was closed")
	}
}

func TestKeptForgetsWhatIsOld(t *testing.T) {
	t.Parallel()
	k := newKept[int, int](100)
	k.put(0, 0, 50)
	if _, ok := k.get(0); !ok {
		t.Error("half of the limit is not kept")
	}
	k.put(1, 1, 51)
	if _, ok := k.get(1); ok {
		t.Error("more than half of the limit is kept")
	}
	for i := range 1000 {
		k.put(i, i, 1+i%7)
		k.get(2) // what is asked for stays
		sum := 0
		for _, generation := range []map[int]keptValue[int]{k.young, k.old} {
			for _, v := range generation {
				sum += v.cost
			}
		}
		if sum > 100 {
			t.Fatalf("%d is kept", sum)
		}
	}
	for key, kept := range map[int]bool{2: true, 999: true, 3: false} {
		if v, ok := k.get(key); ok != kept || ok && v != key {
			t.Errorf("%d is kept: %v", key, ok)
		}
	}
}

// TestLargeFolderIsReadOnce: who walks a folder asks for it once for each file.
func TestLargeFolderIsReadOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	var trees strings.Builder
	blob := gitIn(t, h.work, "content", "hash-object", "-w", "--stdin")
	for i := range 20_000 {
		fmt.Fprintf(&trees, "100644 blob %s\tf%05d\n", blob, i)
	}
	tree := gitIn(t, h.work, trees.String(), "mktree")
	git(t, h.work, "push", "--quiet", "origin", git(t, h.work, "commit-tree", "-m", "many", tree)+":refs/heads/main")
	r, l := openTest(t, newTestMirrors(t, t.TempDir(), Options{}), h.url)
	fetchTest(t, r, l)
	if got := readTest(t, treeAt(t, r, l, "main"), "f19999"); got != "content" {
		t.Errorf("f19999 = %q", got)
	}
	if _, ok := r.objects.trees.get(plumbing.NewHash(tree)); !ok {
		t.Error("it is not kept")
	}
}

// gitIn runs git with an input.
func gitIn(t testing.TB, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}
