package sources

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// What one mirror keeps in memory at most.
const (
	blobCache   = 4 * cache.MiByte
	treeCache   = 1 << 18 // entries, and folders
	commitCache = 256
)

// A fetch of at most this size is stored from memory.
const (
	fewObjects  = 512
	fewBytes    = smallPack
	fewInflated = maxRecent
)

// maxInflation is how many times longer than a fetch may be its objects may be together.
const maxInflation = 32

// objects is the object store of one mirror.
type objects struct {
	dir string

	// mu guards store, packs and the caches, which are not safe for concurrent use.
	mu    sync.Mutex
	store *filesystem.Storage
	// packs are read instead of store, which has nothing else; nil: store may have.
	packs *packs
	// recent are the objects of packs that store does not know yet.
	recent      map[plumbing.Hash]plumbing.EncodedObject
	recentBytes int64
	smallPacks  int
	trees       kept[plumbing.Hash, *tree]
	commits     map[plumbing.Hash]*object.Commit

	shallows shallows
}

func openObjects(dir string) *objects {
	o := newObjects(dir, openStore(dir))
	o.packs = openPacks(packFolder(dir))
	return o
}

// newObjects reads whatever git keeps in store.
func newObjects(dir string, store *filesystem.Storage) *objects {
	return &objects{dir: dir, store: store, trees: newKept[plumbing.Hash, *tree](treeCache), commits: map[plumbing.Hash]*object.Commit{}}
}

func packFolder(dir string) string { return filepath.Join(dir, "objects", "pack") }

func openStore(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRU(blobCache), filesystem.Options{KeepDescriptors: true})
}

func (o *objects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.packs == nil {
		return o.store.Close()
	}
	return errors.Join(o.packs.close(), o.store.Close())
}

// reopen makes a pack that was just written visible.
func (o *objects) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	old, packs := o.store, o.packs
	o.store, o.packs, o.recent, o.recentBytes = openStore(o.dir), openPacks(packFolder(o.dir)), nil, 0
	return errors.Join(packs.close(), old.Close())
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
	if t, ok := o.trees.get(h); ok {
		return t, nil
	}
	entries, err := o.treeObject(h)
	if err != nil {
		return nil, err
	}
	t, err := newTree(entries)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	o.trees.put(h, t, 1+len(entries))
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
	content, err := o.read(plumbing.BlobObject, h)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", h, err)
	}
	return slices.Clone(content), nil
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

// receive stores a pack as it comes from a server, which may send anything.
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
		w, err := weigh(bytes.NewReader(head.Bytes()), int64(head.Len()), maxInflation*limit)
		switch {
		case err != nil:
			return fmt.Errorf("pack: %w", err)
		case w.objects == 0:
			return nil
		case w.objects <= fewObjects && w.bytes <= fewInflated:
			return o.putPack(head.Bytes())
		}
	}
	if err := o.receiveFile(io.MultiReader(&head, pack), maxInflation*limit); err != nil {
		return err
	}
	return o.reopen()
}

// receiveFile stores a pack by way of a file: readers go on while it comes in.
func (o *objects) receiveFile(pack io.Reader, limit int64) error {
	f, err := os.CreateTemp(o.dir, ".new-*")
	if err != nil {
		return err
	}
	size, err := io.Copy(f, pack)
	if err == nil {
		_, err = weigh(f, size, limit)
	}
	var base string
	if err == nil {
		base, err = o.writeIndex(io.NewSectionReader(f, 0, size), nil)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), base+".pack")
	}
	if err != nil {
		return fmt.Errorf("pack: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
