package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// What one mirror keeps in memory at most.
const (
	blobCache   = 4 * cache.MiByte
	treeCache   = 4096
	commitCache = 256
)

// A fetch of at most this size is stored from memory.
const (
	fewObjects  = 512
	fewBytes    = smallPack
	fewInflated = maxRecent
)

// objects is the object store of one mirror.
type objects struct {
	dir string

	// mu guards store and the caches; go-git's storage is not safe for concurrent use.
	mu    sync.Mutex
	store *filesystem.Storage
	// recent are the objects of packs that store does not know yet.
	recent      map[plumbing.Hash]plumbing.EncodedObject
	recentBytes int64
	smallPacks  int
	trees       map[plumbing.Hash]*tree
	commits     map[plumbing.Hash]*object.Commit

	shallows shallows
}

func openObjects(dir string) *objects {
	return &objects{dir: dir, store: openStore(dir), trees: map[plumbing.Hash]*tree{}, commits: map[plumbing.Hash]*object.Commit{}}
}

func openStore(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRU(blobCache), filesystem.Options{KeepDescriptors: true})
}

func (o *objects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.store.Close()
}

// reopen makes a pack that was just written visible.
func (o *objects) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.store
	o.store, o.recent, o.recentBytes = openStore(o.dir), nil, 0
	return old.Close()
}

func (o *objects) commit(h plumbing.Hash) (*object.Commit, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.commits[h]; ok {
		return c, nil
	}
	c, err := object.GetCommit(o.all(), h)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", h, err)
	}
	if len(o.commits) >= commitCache {
		clear(o.commits)
	}
	o.commits[h] = c
	return c, nil
}

// peel follows annotated tags to the commit that h stands for.
func (o *objects) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range 8 {
		o.mu.Lock()
		obj, err := o.all().EncodedObject(plumbing.AnyObject, h)
		if err != nil {
			o.mu.Unlock()
			return h, fmt.Errorf("object %s: %w", h, err)
		}
		var next plumbing.Hash
		if obj.Type() == plumbing.TagObject {
			var t object.Tag
			err = t.Decode(obj)
			next = t.Target
		}
		o.mu.Unlock()
		switch {
		case err != nil:
			return h, fmt.Errorf("tag %s: %w", h, err)
		case obj.Type() == plumbing.CommitObject:
			return h, nil
		case obj.Type() != plumbing.TagObject:
			return h, fmt.Errorf("object %s is a %s, not a commit", h, obj.Type())
		}
		h = next
	}
	return h, fmt.Errorf("tag %s: too many tags of tags", h)
}

func (o *objects) has(h plumbing.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all().HasEncodedObject(h) == nil
}

// tree reads one folder.
func (o *objects) tree(h plumbing.Hash) (*tree, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t, ok := o.trees[h]; ok {
		return t, nil
	}
	read, err := object.GetTree(o.all(), h)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	t, err := newTree(read.Entries)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	if len(o.trees) >= treeCache {
		clear(o.trees)
	}
	o.trees[h] = t
	return t, nil
}

// size is a file's length.
func (o *objects) size(h plumbing.Hash) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.all().EncodedObjectSize(h)
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", h, err)
	}
	return n, nil
}

// blob reads one file.
func (o *objects) blob(h plumbing.Hash) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj, err := o.all().EncodedObject(plumbing.BlobObject, h)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", h, err)
	}
	r, err := obj.Reader()
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", h, err)
	}
	defer r.Close()
	content := make([]byte, 0, obj.Size()+1)
	b := bytes.NewBuffer(content)
	if _, err := b.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("blob %s: %w", h, err)
	}
	return b.Bytes(), nil
}

// copy adds a stored object to made.
func (o *objects) copy(h plumbing.Hash, made *memory.Storage) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj, err := o.all().EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return fmt.Errorf("object %s: %w", h, err)
	}
	_, err = made.SetEncodedObject(obj)
	return err
}

// receive stores a pack as it comes from a server.
func (o *objects) receive(pack io.Reader, limit int64) error {
	pack = &limited{pack, limit}
	var head bytes.Buffer
	_, err := io.CopyN(&head, pack, fewBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if head.Len() == 0 {
		return nil
	}
	if whole := err != nil; whole {
		if n, small := inflated(head.Bytes()); small {
			if n == 0 {
				return nil
			}
			return o.putPack(head.Bytes())
		}
	}
	// A storage of its own: readers go on while a large pack comes in.
	w := openStore(o.dir)
	err = packfile.WritePackfileToObjectStorage(w, io.MultiReader(&head, pack))
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return o.reopen()
}

// inflated says how many objects a pack holds, and whether it is a small one.
func inflated(pack []byte) (count uint32, small bool) {
	s := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := s.Header()
	if err != nil || count > fewObjects {
		return count, false
	}
	var sum int64
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return count, false
		}
		if sum += h.Length; h.Length < 0 || sum > fewInflated {
			return count, false
		}
	}
	return count, true
}
