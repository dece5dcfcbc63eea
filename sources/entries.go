package sources

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

type fileInfo struct {
	f treeFS
	n node
}

func (i fileInfo) Name() string       { return i.n.entry.Name }
func (i fileInfo) IsDir() bool        { return i.n.isFolder() }
func (i fileInfo) ModTime() time.Time { return i.f.when }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	switch i.n.entry.Mode {
	case filemode.Dir, filemode.Submodule:
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
	if i.n.isFolder() {
		return 0
	}
	n, err := i.n.objects.size(i.n.entry.Hash)
	if err != nil {
		return 0
	}
	return n
}

type dirEntry struct {
	f treeFS
	n node
}

func (d dirEntry) Name() string               { return d.n.entry.Name }
func (d dirEntry) IsDir() bool                { return d.n.isFolder() }
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
