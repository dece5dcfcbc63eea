package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"slipway.dev/slipway/api"
)

// maxFile bounds a file of the tree, in bytes.
const maxFile = 8 << 20

// maxFiles bounds how many files an application renders.
const maxFiles = 5000

// lockFile is the name of the file that says what promoted tags point at.
const lockFile = "images.lock.json"

// tree reads files of a revision and remembers what was read. A file is there only if it
// is listed in its folder, as a regular file, and so are all folders above it: whatever
// the fs.FS below does about links, none is followed.
type tree struct {
	fsys fs.FS
	dirs map[string]map[string]fs.DirEntry
	// entries are what was looked for so far; nil: there is none.
	entries map[string]fs.DirEntry
	// digests of what was looked at: the tree's own, else of the content; empty: it is not there.
	digests map[string]string
	// refusals are the paths that may not be read, and what is above them.
	refusals map[string]bool
	// digester tells identities without reading; nil if the tree cannot.
	digester api.TreeDigests
	// links tells what an entry is without listing its folder; nil if the tree cannot.
	links fs.ReadLinkFS
	// broken is the first failure to read the tree, which is no mistake of its author.
	broken error
}

// refused says why a file may not be read.
type refused string

func (r refused) Error() string { return string(r) }

func newTree(fsys fs.FS) *tree {
	t := &tree{fsys: fsys, dirs: map[string]map[string]fs.DirEntry{}, digests: map[string]string{}, refusals: map[string]bool{}, entries: map[string]fs.DirEntry{}}
	t.digester, _ = fsys.(api.TreeDigests)
	t.links, _ = fsys.(fs.ReadLinkFS)
	return t
}

// identity is the tree's own digest of a path; empty where there is nothing, or it tells none.
func (t *tree) identity(name string) string {
	if t.digester == nil {
		return ""
	}
	digest, _ := t.digester.Digest(name)
	return digest
}

// refuse notes a path that may not be read: it is so because of what the path, or a folder
// on the way to it, is.
func (t *tree) refuse(name string, err error) error {
	var no refused
	if errors.As(err, &no) && fs.ValidPath(name) {
		for ; name != "."; name = path.Dir(name) {
			t.refusals[name] = true
		}
	}
	return err
}

// fail says why something could not be read: what git holds there is refused, and anything
// else breaks the rendering.
func (t *tree) fail(err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, api.ErrUnread) && errors.As(err, &at):
		return refused(at.Err.Error())
	case errors.Is(err, api.ErrUnread):
		return refused(err.Error())
	case t.broken == nil:
		t.broken = err
	}
	return err
}

// list reads a folder; a folder that is not there is nil.
func (t *tree) list(dir string) (map[string]fs.DirEntry, error) {
	if known, ok := t.dirs[dir]; ok {
		return known, nil
	}
	if dir != "." {
		e, err := t.entry(dir)
		if err != nil {
			return nil, err
		}
		if e == nil || !e.IsDir() {
			return nil, nil
		}
	}
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil && !(dir == "." && errors.Is(err, fs.ErrNotExist)) {
		return nil, t.fail(fmt.Errorf("read folder %s of the repository: %w", dir, err))
	}
	listed := map[string]fs.DirEntry{}
	for _, e := range entries {
		listed[e.Name()] = e
	}
	t.dirs[dir] = listed
	return listed, nil
}

// entry finds a file or folder; nil: there is none.
func (t *tree) entry(name string) (fs.DirEntry, error) {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return nil, refused("is not a path inside of the repository")
	}
	e, known := t.entries[name]
	if !known {
		var err error
		if e, err = t.find(name); err != nil {
			return nil, err
		}
		t.entries[name] = e
	}
	if e != nil && !e.IsDir() && !e.Type().IsRegular() {
		if e.Type()&fs.ModeSymlink != 0 {
			return nil, refused(name + " is a symbolic link; links are not followed")
		}
		return nil, refused(name + " is not a regular file")
	}
	return e, nil
}

// find looks for an entry in its folder; nil: there is none.
func (t *tree) find(name string) (fs.DirEntry, error) {
	in := path.Dir(name)
	if t.dirs[in] == nil && t.links != nil {
		// A folder may be large, and only one of its entries is wanted.
		if in != "." {
			e, err := t.entry(in)
			if err != nil || e == nil || !e.IsDir() {
				return nil, err
			}
		}
		info, err := t.links.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, t.fail(fmt.Errorf("look for %s in the repository: %w", name, err))
		}
		return fs.FileInfoToDirEntry(info), nil
	}
	listed, err := t.list(in)
	if err != nil || listed == nil {
		return nil, err
	}
	return listed[path.Base(name)], nil
}

// file reads a file.
func (t *tree) file(name string) (data []byte, found bool, err error) {
	e, err := t.entry(name)
	if err != nil {
		return nil, false, t.refuse(name, err)
	}
	if e == nil || e.IsDir() {
		t.digests[name] = ""
		return nil, false, nil
	}
	f, err := t.fsys.Open(name)
	if err != nil {
		return nil, false, t.refuse(name, t.fail(fmt.Errorf("read %s of the repository: %w", name, err)))
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, false, t.refuse(name, t.fail(fmt.Errorf("read %s of the repository: %w", name, err)))
	}
	if len(data) > maxFile {
		return nil, false, t.refuse(name, refused(fmt.Sprintf("%s is larger than %d MiB", name, maxFile>>20)))
	}
	if t.digests[name] = t.identity(name); t.digests[name] == "" {
		sum := sha256.Sum256(data)
		t.digests[name] = hex.EncodeToString(sum[:])
	}
	return data, true, nil
}

// note makes sure that a file's digest is known.
func (t *tree) note(name string) error {
	if _, known := t.digests[name]; known {
		return nil
	}
	if t.digester != nil {
		t.digests[name] = t.identity(name)
		return nil
	}
	_, _, err := t.file(name)
	var no refused
	if errors.As(err, &no) {
		return nil
	}
	return err
}

// now is a file's digest, without the file counting as looked at; empty if it is not there.
func (t *tree) now(name string) (string, error) {
	if digest, known := t.digests[name]; known || t.digester != nil {
		if !known {
			digest = t.identity(name)
		}
		return digest, nil
	}
	look := newTree(t.fsys)
	look.dirs, look.entries = t.dirs, t.entries
	_, _, err := look.file(name)
	var no refused
	if errors.As(err, &no) {
		return string(no), nil
	}
	if look.broken != nil {
		return "", t.fail(look.broken)
	}
	return look.digests[name], err
}

// files lists what is rendered below a folder: YAML, JSON and Jsonnet, but not libraries,
// nor what is hidden.
func (t *tree) files(dir string) (files []string, problems api.Problems, err error) {
	listed, err := t.list(dir)
	var no refused
	if errors.As(t.refuse(dir, err), &no) {
		return nil, api.Problems{{File: dir, Message: string(no)}}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if listed == nil {
		return nil, api.Problems{{Message: fmt.Sprintf("there is no folder %s in the repository", dir)}}, nil
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		at := path.Join(dir, name)
		switch e := listed[name]; {
		case strings.HasPrefix(name, "."):
		case e.IsDir():
			if name == "lib" || name == "vendor" {
				continue
			}
			more, wrong, err := t.files(at)
			if err != nil {
				return nil, nil, err
			}
			files, problems = append(files, more...), append(problems, wrong...)
		case e.Type()&fs.ModeSymlink != 0:
			problems = append(problems, api.Problem{File: at, Message: "is a symbolic link; links are not followed"})
		case slices.Contains([]string{".yaml", ".yml", ".json", ".jsonnet"}, path.Ext(name)):
			files = append(files, at)
		}
		if len(files) > maxFiles {
			return nil, api.Problems{{File: dir, Message: fmt.Sprintf("holds more than %d files to render", maxFiles)}}, nil
		}
	}
	return files, problems, nil
}
