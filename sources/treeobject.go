package sources

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// parseTree reads a tree object: for every entry its mode in octal digits, a space, its
// name, a zero byte and its hash.
func parseTree(content []byte) ([]object.TreeEntry, error) {
	torn := func(why string) ([]object.TreeEntry, error) {
		return nil, fmt.Errorf("%w: %s", object.ErrMalformedTree, why)
	}
	// Each entry has a zero byte, and so may its hash; a digit, a space and a letter are its least.
	entries := make([]object.TreeEntry, 0, min(bytes.Count(content, []byte{0}), len(content)/(githash.Size+4)))
	// All names share one string.
	for text := string(content); len(text) > 0; {
		digits, rest, ok := strings.Cut(text, " ")
		if !ok {
			return torn("missing mode terminator")
		}
		mode, err := entryMode(digits)
		if err != nil {
			return torn("malformed mode")
		}
		name, rest, ok := strings.Cut(rest, "\x00")
		if !ok || name == "" || len(rest) < githash.Size {
			return torn("an entry has no name or no object")
		}
		e := object.TreeEntry{Name: name, Mode: mode}
		copy(e.Hash[:], rest)
		entries, text = append(entries, e), rest[githash.Size:]
	}
	return entries, nil
}

// entryMode is the mode that git takes the digits for: old ones wrote others.
func entryMode(digits string) (filemode.FileMode, error) {
	switch digits {
	case "100644":
		return filemode.Regular, nil
	case "40000":
		return filemode.Dir, nil
	}
	mode, err := filemode.New(digits)
	switch {
	case err != nil:
		return filemode.Empty, err
	case mode&0o170000 == 0o040000:
		return filemode.Dir, nil
	case mode&0o170000 == 0o100000 && mode&0o111 != 0:
		return filemode.Executable, nil
	case mode&0o170000 == 0o100000:
		return filemode.Regular, nil
	case mode&0o170000 == 0o120000:
		return filemode.Symlink, nil
	}
	return filemode.Submodule, nil
}

// treeObject reads a tree object; o.mu must be held.
func (o *objects) treeObject(h plumbing.Hash) ([]object.TreeEntry, error) {
	obj, err := o.read(plumbing.TreeObject, h)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	entries, err := parseTree(obj)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	return entries, nil
}
