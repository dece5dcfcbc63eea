package sources

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// treeBytes is a tree object with one entry for each mode.
func treeBytes(t testing.TB, modes ...string) []byte {
	t.Helper()
	hash := plumbing.NewHash(sha1OfNothing)
	var content []byte
	for i, mode := range modes {
		content = append(fmt.Appendf(content, "%s n%02d\x00", mode, i), hash[:]...)
	}
	return content
}

// TestModesAreThoseOfGit reads old modes, too, as `git ls-tree` prints them.
func TestModesAreThoseOfGit(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	git(t, work, "init", "--quiet")
	content := treeBytes(t, "100644", "100755", "120000", "40000", "160000", "100664", "100600", "100744", "100444", "040000", "0100644", "120777", "40755")
	hash := gitIn(t, work, string(content), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	entries, err := parseTree(content)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		kind := map[filemode.FileMode]string{filemode.Dir: "tree", filemode.Submodule: "commit"}[e.Mode]
		if kind == "" {
			kind = "blob"
		}
		got = append(got, fmt.Sprintf("%06o %s %s\t%s", uint32(e.Mode), kind, e.Hash, e.Name))
	}
	if want := strings.Split(git(t, work, "ls-tree", hash), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTreesThatAreNone(t *testing.T) {
	t.Parallel()
	whole := string(treeBytes(t, "100644"))
	for _, content := range []string{"1", "100644", "100644 n", "100644 n\x00", whole[:len(whole)-1], whole + "1", "100648 n" + whole[10:], " n" + whole[10:], "100644 " + whole[10:], "7777777777777 n" + whole[10:]} {
		if entries, err := parseTree([]byte(content)); err == nil {
			t.Errorf("%q is %v", content, entries)
		}
	}
}

// FuzzParseTree reads trees as go-git does.
func FuzzParseTree(f *testing.F) {
	f.Add([]byte{})
	f.Add(treeBytes(f, "100644", "100755", "40000", "120000", "160000"))
	f.Add(treeBytes(f, "100664", "0", "777777", "37777777777"))
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, content []byte) {
		obj := &plumbing.MemoryObject{}
		obj.SetType(plumbing.TreeObject)
		if _, err := obj.Write(content); err != nil {
			t.Fatal(err)
		}
		var want object.Tree
		theirs := want.Decode(obj)
		got, ours := parseTree(content)
		if (theirs == nil) != (ours == nil) {
			t.Fatalf("go-git says %v, we say %v", theirs, ours)
		}
		if ours == nil && !slices.Equal(got, want.Entries) {
			t.Fatalf("got %v, want %v", got, want.Entries)
		}
	})
}
