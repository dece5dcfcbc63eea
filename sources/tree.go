package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrSymlink says that a path is a symbolic link, or leads through one. Links are
// listed and can be read with ReadLink; they are not followed.
var ErrSymlink = errors.New("symbolic links are not followed")

// tree is one folder, sorted by name, without submodules.
type tree struct {
	entries []object.TreeEntry
}

// newTree refuses names that no honest git writes: they exist to escape from the
// folder that somebody unpacks them to.
func newTree(all []object.TreeEntry) (*tree, error) {
	t := &tree{entries: make([]object.TreeEntry, 0, len(all))}
	for _, e := range all {
		if err := checkEntryName(e.Name); err != nil {
			return nil, err
		}
		if e.Mode != filemode.Submodule {
			t.entries = append(t.entries, e)
		}
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
// implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.SubFS and fs.ReadLinkFS.
type treeFS struct {
	objects *objects
	root    plumbing.Hash
	when    time.Time
	// hidden says which paths are not seen; nil: none.
	hidden func(path []string, dir bool) bool
	// prefix is where root is in the commit's tree, for hidden.
	prefix []string
}

var _ interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.SubFS
	fs.ReadLinkFS
} = treeFS{}

// look finds an entry, not following links.
func (f treeFS) look(op, name string) (object.TreeEntry, error) {
	fail := func(err error) (object.TreeEntry, error) {
		return object.TreeEntry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	at := object.TreeEntry{Name: ".", Mode: filemode.Dir, Hash: f.root}
	if name == "." {
		return at, nil
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		switch at.Mode {
		case filemode.Dir:
		case filemode.Symlink:
			return fail(ErrSymlink)
		default:
			return fail(fs.ErrNotExist)
		}
		t, err := f.objects.tree(at.Hash)
		if err != nil {
			return fail(err)
		}
		e, ok := t.find(part)
		if !ok || f.isHidden(parts[:i+1], e.Mode == filemode.Dir) {
			return fail(fs.ErrNotExist)
		}
		at = e
	}
	return at, nil
}

func (f treeFS) isHidden(parts []string, dir bool) bool {
	return f.hidden != nil && f.hidden(append(slices.Clone(f.prefix), parts...), dir)
}

// Open opens a file or a folder.
func (f treeFS) Open(name string) (fs.File, error) {
	e, err := f.look("open", name)
	if err != nil {
		return nil, err
	}
	info := fileInfo{f, e}
	if e.Mode == filemode.Dir {
		list, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDir{info: info, name: name, left: list}, nil
	}
	content, err := f.content("open", name, e)
	if err != nil {
		return nil, err
	}
	return &openFile{info, bytes.NewReader(content)}, nil
}

// ReadFile reads a file.
func (f treeFS) ReadFile(name string) ([]byte, error) {
	e, err := f.look("read", name)
	if err != nil {
		return nil, err
	}
	return f.content("read", name, e)
}

func (f treeFS) content(op, name string, e object.TreeEntry) ([]byte, error) {
	var err error
	switch {
	case e.Mode == filemode.Symlink:
		err = ErrSymlink
	case !e.Mode.IsFile():
		err = errors.New("is a directory")
	default:
		var content []byte
		if content, err = f.objects.blob(e.Hash); err == nil {
			return content, nil
		}
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: err}
}

// ReadDir lists a folder by name.
func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.look("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.Mode != filemode.Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	t, err := f.objects.tree(e.Hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	var at []string
	if name != "." {
		at = strings.Split(name, "/")
	}
	list := make([]fs.DirEntry, 0, len(t.entries))
	for _, e := range t.entries {
		if !f.isHidden(append(slices.Clone(at), e.Name), e.Mode == filemode.Dir) {
			list = append(list, dirEntry{f, e})
		}
	}
	return list, nil
}

// Stat describes a path; of a link it describes the link.
func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	e, err := f.look("stat", name)
	if err != nil {
		return nil, err
	}
	if name != "." {
		e.Name = path.Base(name)
	}
	return fileInfo{f, e}, nil
}

// Lstat is Stat.
func (f treeFS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink is where a symbolic link points to.
func (f treeFS) ReadLink(name string) (string, error) {
	e, err := f.look("readlink", name)
	if err != nil {
		return "", err
	}
	if e.Mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := f.objects.blob(e.Hash)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

// Sub is the folder as a file system of its own.
func (f treeFS) Sub(dir string) (fs.FS, error) {
	e, err := f.look("sub", dir)
	if err != nil {
		return nil, err
	}
	if e.Mode != filemode.Dir {
		return nil, &fs.PathError{Op: "sub", Path: dir, Err: errors.New("not a directory")}
	}
	sub := f
	sub.root = e.Hash
	if dir != "." {
		sub.prefix = append(slices.Clone(f.prefix), strings.Split(dir, "/")...)
	}
	return sub, nil
}

type fileInfo struct {
	f treeFS
	e object.TreeEntry
}

func (i fileInfo) Name() string       { return i.e.Name }
func (i fileInfo) IsDir() bool        { return i.e.Mode == filemode.Dir }
func (i fileInfo) ModTime() time.Time { return i.f.when }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	switch i.e.Mode {
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Executable:
		return 0o755
	}
	return 0o644
}

// Size is a file's length, and 0 for what is none or cannot be read: reading it then
// says why.
func (i fileInfo) Size() int64 {
	if i.e.Mode == filemode.Dir {
		return 0
	}
	n, err := i.f.objects.size(i.e.Hash)
	if err != nil {
		return 0
	}
	return n
}

type dirEntry struct {
	f treeFS
	e object.TreeEntry
}

func (d dirEntry) Name() string               { return d.e.Name }
func (d dirEntry) IsDir() bool                { return d.e.Mode == filemode.Dir }
func (d dirEntry) Type() fs.FileMode          { return fileInfo(d).Mode().Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return fileInfo(d), nil }

type openFile struct {
	info fileInfo
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info fileInfo
	name string
	left []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.left) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.left) {
		n = len(d.left)
	}
	list := d.left[:n]
	d.left = d.left[n:]
	return list, nil
}
