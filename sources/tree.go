package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"slipway.dev/slipway/api"
)

// ErrSymlink says that a path is a symbolic link, or leads through one. Links are
// listed and can be read with ReadLink; they are not followed.
var ErrSymlink = errors.New("symbolic links are not followed")

// tree is one folder, sorted by name.
type tree struct {
	entries []object.TreeEntry
	// ignores says that there is a .sourceignore file.
	ignores bool
}

// newTree refuses names that no honest git writes: they exist to escape from the
// folder that somebody unpacks them to.
func newTree(all []object.TreeEntry) (*tree, error) {
	t := &tree{entries: slices.Clone(all)}
	for _, e := range all {
		if err := checkEntryName(e.Name); err != nil {
			return nil, err
		}
		t.ignores = t.ignores || e.Name == ignoreFile && e.Mode.IsFile() && e.Mode != filemode.Symlink
	}
	slices.SortFunc(t.entries, func(a, b object.TreeEntry) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(t.entries); i++ {
		if t.entries[i].Name == t.entries[i-1].Name {
			return nil, fmt.Errorf("%q is there twice", t.entries[i].Name)
		}
	}
	return t, nil
}

func checkEntryName(name string) error {
	low := strings.ToLower(strings.TrimRight(name, ". "))
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || low == ".git" || low == "git~1" {
		return fmt.Errorf("the name %q is not allowed in a tree", name)
	}
	return nil
}

func (t *tree) find(name string) (object.TreeEntry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, name, func(e object.TreeEntry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return object.TreeEntry{}, false
	}
	return t.entries[i], true
}

// treeFS is a commit's tree as a file system, read out of the object store. It
// implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.SubFS, fs.ReadLinkFS and
// api.TreeDigests.
type treeFS struct {
	top  node
	when time.Time
	// view says what is seen, and how; nil: everything, as it is stored.
	view *view
}

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.SubFS
	fs.ReadLinkFS
	api.TreeDigests
} = treeFS{}

func newTreeFS(o *objects, root plumbing.Hash, when time.Time, v *view) treeFS {
	return treeFS{top: node{entry: object.TreeEntry{Name: ".", Mode: filemode.Dir, Hash: root}, objects: o}, when: when, view: v}
}

// node is an entry, and where it is: what that changes in how it is read.
type node struct {
	entry object.TreeEntry
	// objects holds the entry, which is another repository's below a submodule.
	objects *objects
	// path from the root of the commit's tree; empty for the root. It is shared: clone
	// before appending.
	path []string
	// rules of the .sourceignore files in the folders above; nil: none.
	rules *rules
}

// folder reads a node that is a folder, or a submodule that is read as one. rules are
// those for what is in it.
func (f treeFS) folder(n node) (t *tree, at node, err error) {
	if n.entry.Mode == filemode.Submodule {
		if n, err = f.view.enter(n); err != nil {
			return nil, n, err
		}
	}
	if t, err = n.objects.tree(n.entry.Hash); err != nil {
		return nil, n, err
	}
	if t.ignores && f.view != nil {
		n.rules, err = f.view.rulesOf(n, t)
	}
	return t, n, err
}

func (n node) isFolder() bool {
	return n.entry.Mode == filemode.Dir || n.entry.Mode == filemode.Submodule
}

// child is a name of a folder; at and t are what folder answered.
func (f treeFS) child(at node, e object.TreeEntry) (node, bool) {
	c := node{entry: e, objects: at.objects, path: append(slices.Clip(at.path), e.Name), rules: at.rules}
	return c, !f.view.hides(c)
}

// look finds an entry, not following links.
func (f treeFS) look(op, name string) (node, error) {
	fail := func(err error) (node, error) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	n := f.top
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case n.isFolder():
		case n.entry.Mode == filemode.Symlink:
			return fail(ErrSymlink)
		default:
			return fail(fs.ErrNotExist)
		}
		t, at, err := f.folder(n)
		if err != nil {
			return fail(err)
		}
		e, ok := t.find(part)
		if !ok {
			return fail(fs.ErrNotExist)
		}
		if n, ok = f.child(at, e); !ok {
			return fail(fs.ErrNotExist)
		}
	}
	return n, nil
}

// list is what is seen of a folder, by name.
func (f treeFS) list(n node) ([]node, error) {
	t, at, err := f.folder(n)
	if err != nil {
		return nil, err
	}
	seen := make([]node, 0, len(t.entries))
	for _, e := range t.entries {
		if c, ok := f.child(at, e); ok {
			seen = append(seen, c)
		}
	}
	return seen, nil
}

// Open opens a file or a folder.
func (f treeFS) Open(name string) (fs.File, error) {
	n, err := f.look("open", name)
	if err != nil {
		return nil, err
	}
	info := f.info(n, name)
	if n.isFolder() {
		list, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDir{info: info, name: name, left: list}, nil
	}
	content, err := f.content("open", name, n)
	if err != nil {
		return nil, err
	}
	return &openFile{info, bytes.NewReader(content)}, nil
}

// ReadFile reads a file.
func (f treeFS) ReadFile(name string) ([]byte, error) {
	n, err := f.look("read", name)
	if err != nil {
		return nil, err
	}
	return f.content("read", name, n)
}

func (f treeFS) content(op, name string, n node) ([]byte, error) {
	var err error
	switch {
	case n.entry.Mode == filemode.Symlink:
		err = ErrSymlink
	case n.isFolder():
		err = errors.New("is a directory")
	default:
		var content []byte
		if content, err = n.objects.blob(n.entry.Hash); err == nil {
			content, err = f.view.smudge(n, content)
		}
		if err == nil {
			return content, nil
		}
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: err}
}

// ReadDir lists a folder by name.
func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.look("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.isFolder() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	seen, err := f.list(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, len(seen))
	for i, c := range seen {
		list[i] = dirEntry{f, c}
	}
	return list, nil
}

// Stat describes a path; of a link it describes the link.
func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.look("stat", name)
	if err != nil {
		return nil, err
	}
	return f.info(n, name), nil
}

// info names the node as it was asked for: a root is "." wherever it is.
func (f treeFS) info(n node, name string) fileInfo {
	n.entry.Name = path.Base(name)
	return fileInfo{f, n}
}

// Lstat is Stat.
func (f treeFS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink is where a symbolic link points to.
func (f treeFS) ReadLink(name string) (string, error) {
	n, err := f.look("readlink", name)
	if err != nil {
		return "", err
	}
	if n.entry.Mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := n.objects.blob(n.entry.Hash)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

// Sub is the folder as a file system of its own.
func (f treeFS) Sub(dir string) (fs.FS, error) {
	n, err := f.look("sub", dir)
	if err != nil {
		return nil, err
	}
	if !n.isFolder() {
		return nil, &fs.PathError{Op: "sub", Path: dir, Err: errors.New("not a directory")}
	}
	sub := f
	sub.top = n
	return sub, nil
}
