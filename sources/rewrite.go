package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
)

// edit is a change below one folder: either a file's new content (nil content with
// isFile: delete it) or edits of what is in a folder of that name.
type edit struct {
	isFile  bool
	content []byte
	below   map[string]*edit
}

// edits sorts changes by folder.
func edits(changes map[string][]byte) (*edit, error) {
	root := &edit{below: map[string]*edit{}}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("change of %q: not a path in a tree", name)
		}
		at := root
		parts := strings.Split(name, "/")
		for i, part := range parts {
			if err := checkEntryName(part); err != nil {
				return nil, fmt.Errorf("change of %q: %w", name, err)
			}
			if at.isFile {
				return nil, fmt.Errorf("change of %q: %q is changed as a file too", name, strings.Join(parts[:i], "/"))
			}
			next := at.below[part]
			if next == nil {
				next = &edit{below: map[string]*edit{}}
				at.below[part] = next
			}
			at = next
		}
		at.isFile, at.content = true, changes[name]
	}
	return root, nil
}

// rewriter makes the objects of a changed tree. What is not changed keeps its
// object: other paths stay as they are, byte for byte.
type rewriter struct {
	objects *objects
	made    *memory.Storage
}

// folder applies e to the tree old (zero: none) and returns the new one; zero if
// nothing is left in it.
func (w rewriter) folder(old plumbing.Hash, e *edit, at string) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !old.IsZero() {
		read, err := w.objects.rawTree(old)
		if err != nil {
			return old, err
		}
		for _, entry := range read {
			entries[entry.Name] = entry
		}
	}
	for name, child := range e.below {
		if err := w.entry(entries, name, child, at+name); err != nil {
			return old, err
		}
	}
	if len(entries) == 0 && at != "" {
		return plumbing.ZeroHash, nil
	}
	return w.store(old, slices.Collect(maps.Values(entries)), at)
}

// entry changes one name of a folder.
func (w rewriter) entry(entries map[string]object.TreeEntry, name string, e *edit, at string) error {
	was, exists := entries[name]
	if !e.isFile {
		if exists && was.Mode != filemode.Dir {
			return fmt.Errorf("%s is a %s, not a folder", at, modeName(was.Mode))
		}
		h, err := w.folder(was.Hash, e, at+"/")
		if err != nil {
			return err
		}
		if h.IsZero() {
			delete(entries, name)
			return nil
		}
		entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: h}
		return nil
	}
	if exists && !was.Mode.IsFile() || exists && was.Mode == filemode.Symlink {
		return fmt.Errorf("%s is a %s, not a file", at, modeName(was.Mode))
	}
	if e.content == nil {
		delete(entries, name)
		return nil
	}
	mode := filemode.Regular
	if exists {
		mode = was.Mode
	}
	obj := &plumbing.MemoryObject{}
	obj.SetType(plumbing.BlobObject)
	if _, err := obj.Write(e.content); err != nil {
		return err
	}
	if !exists || was.Hash != obj.Hash() {
		if _, err := w.made.SetEncodedObject(obj); err != nil {
			return err
		}
	}
	entries[name] = object.TreeEntry{Name: name, Mode: mode, Hash: obj.Hash()}
	return nil
}

func modeName(m filemode.FileMode) string {
	switch m {
	case filemode.Dir:
		return "folder"
	case filemode.Symlink:
		return "symbolic link"
	case filemode.Submodule:
		return "submodule"
	}
	return "file"
}

// rawTree is a folder as it is stored, submodules included.
func (o *objects) rawTree(h plumbing.Hash) ([]object.TreeEntry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries, err := o.treeObject(h)
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].Name == entries[i-1].Name {
			return nil, errors.New("tree " + h.String() + ": a name is there twice")
		}
	}
	return entries, nil
}
