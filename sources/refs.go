package sources

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// refs is what a repository's references were at one look. It is never changed
// once a mirror holds it.
type refs struct {
	// head is the full name of the branch that HEAD names, empty if none.
	head string
	// names maps full names to what they point at.
	names map[string]plumbing.Hash
	// peeled maps annotated tags to what they stand for.
	peeled map[string]plumbing.Hash
}

// commit is what a reference stands for.
func (r refs) commit(name string) (plumbing.Hash, bool) {
	if h, ok := r.peeled[name]; ok {
		return h, true
	}
	h, ok := r.names[name]
	return h, ok
}

// tips are the distinct objects that references point at.
func (r refs) tips() map[plumbing.Hash]bool {
	tips := make(map[plumbing.Hash]bool, len(r.names))
	for _, h := range r.names {
		tips[h] = true
	}
	return tips
}

func (r refs) equal(o refs) bool {
	return r.head == o.head && maps.Equal(r.names, o.names) && maps.Equal(r.peeled, o.peeled)
}

// with is r with one reference moved.
func (r refs) with(name string, h plumbing.Hash) refs {
	names := maps.Clone(r.names)
	if names == nil {
		names = map[string]plumbing.Hash{}
	}
	names[name] = h
	head := r.head
	if head == "" {
		head = name
	}
	return refs{head: head, names: names, peeled: r.peeled}
}

// readRefs reads a mirror's HEAD and packed-refs; a mirror without them has none.
func readRefs(dir string) (refs, error) {
	r := refs{names: map[string]plumbing.Hash{}, peeled: map[string]plumbing.Hash{}}
	packed, err := os.ReadFile(filepath.Join(dir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	last := ""
	lines := bufio.NewScanner(bytes.NewReader(packed))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if peeled, ok := strings.CutPrefix(line, "^"); ok && isHash(peeled) && last != "" {
			r.peeled[last] = plumbing.NewHash(peeled)
			continue
		}
		hash, name, ok := strings.Cut(line, " ")
		if !ok || !isHash(hash) || CheckRefName(name) != nil {
			return r, fmt.Errorf("%s:%d: not a reference", filepath.Join(dir, "packed-refs"), n)
		}
		r.names[name], last = plumbing.NewHash(hash), name
	}
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	name, symbolic := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: ")
	if _, exists := r.names[name]; symbolic && exists {
		r.head = name
	}
	return r, lines.Err()
}

// writeRefs replaces what readRefs reads. HEAD goes first: with the old references
// it names a branch or nothing, and both are true. was is what is there now.
func writeRefs(dir string, was, r refs) error {
	head := r.head
	if head == "" {
		head = "refs/heads/main"
	}
	if was.head == "" || was.head != r.head {
		if err := replaceFile(filepath.Join(dir, "HEAD"), []byte("ref: "+head+"\n")); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for _, name := range slices.Sorted(maps.Keys(r.names)) {
		fmt.Fprintf(&b, "%s %s\n", r.names[name], name)
		if h, ok := r.peeled[name]; ok {
			fmt.Fprintf(&b, "^%s\n", h)
		}
	}
	return replaceFile(filepath.Join(dir, "packed-refs"), b.Bytes())
}

func replaceFile(name string, content []byte) error {
	return placeFile(filepath.Dir(name), name, content)
}

// placeFile puts a file in its place whole, by way of one in the folder dir of the
// mirror, where sweep finds what a crash leaves.
func placeFile(dir, name string, content []byte) error {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
