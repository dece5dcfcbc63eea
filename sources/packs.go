package sources

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// Most fetches bring a few objects. They are stored as a pack each, because that takes
// the fewest files, and stay in memory until many of them are made one.
const (
	maxSmallPacks = 32
	smallPack     = 1 << 20
	maxRecent     = 8 << 20
)

// layered is the store on disk with the objects of its newest packs before it, which
// it was opened too early to know.
type layered struct {
	*filesystem.Storage
	packs  *packs
	recent map[plumbing.Hash]plumbing.EncodedObject
}

func (l layered) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, ok := l.recent[h]
	if !ok && l.packs == nil {
		return l.Storage.EncodedObject(t, h)
	}
	if !ok {
		read, err := l.packs.read(h)
		if err != nil {
			return nil, err
		}
		memory := &plumbing.MemoryObject{}
		memory.SetType(read.kind)
		if _, err := memory.Write(read.content); err != nil {
			return nil, err
		}
		obj = memory
	}
	if t != plumbing.AnyObject && t != obj.Type() {
		return nil, plumbing.ErrObjectNotFound
	}
	return obj, nil
}

// read is an object's content. It may be shared: nobody may change it. o.mu must be held.
func (o *objects) read(t plumbing.ObjectType, h plumbing.Hash) ([]byte, error) {
	if _, ok := o.recent[h]; !ok && o.packs != nil {
		obj, err := o.packs.read(h)
		if err == nil && t != obj.kind {
			err = plumbing.ErrObjectNotFound
		}
		return obj.content, err
	}
	obj, err := o.all().EncodedObject(t, h)
	if err != nil {
		return nil, err
	}
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func (l layered) HasEncodedObject(h plumbing.Hash) error {
	if _, ok := l.recent[h]; ok {
		return nil
	}
	if l.packs != nil {
		_, err := l.packs.find(h)
		return err
	}
	return l.Storage.HasEncodedObject(h)
}

func (l layered) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	if obj, ok := l.recent[h]; ok {
		return obj.Size(), nil
	}
	if l.packs != nil {
		return l.packs.size(h)
	}
	return l.Storage.EncodedObjectSize(h)
}

// all is everything that is stored; o.mu must be held.
func (o *objects) all() layered { return layered{o.store, o.packs, o.recent} }

// put stores objects: all of them, or after a crash none.
func (o *objects) put(made *memory.Storage) error {
	if len(made.Objects) == 0 {
		return nil
	}
	var pack bytes.Buffer
	hashes := slices.Collect(maps.Keys(made.Objects))
	if _, err := packfile.NewEncoder(&pack, made, false).Encode(hashes, 0); err != nil {
		return fmt.Errorf("storing objects: %w", err)
	}
	return o.putPack(pack.Bytes())
}

// putPack stores a small pack.
func (o *objects) putPack(pack []byte) error {
	made := memory.NewStorage()
	if err := o.writePack(pack, made); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.recent == nil {
		o.recent = map[plumbing.Hash]plumbing.EncodedObject{}
	}
	for h, obj := range made.Objects {
		o.recent[h] = obj
		o.recentBytes += obj.Size()
	}
	o.smallPacks++
	return nil
}

// writePack stores a pack with its index; made gets its objects, and may be nil. The index
// comes first: the pack is what makes both count.
func (o *objects) writePack(pack []byte, made storer.EncodedObjectStorer) error {
	base, err := o.writeIndex(bytes.NewReader(pack), made)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return placeFile(o.dir, base+".pack", pack)
}

// writeIndex computes the hash of every object of a pack, and writes its index. Reading
// trusts that: what the index finds has the hash that was looked for. base is what both
// files are called, without their endings.
func (o *objects) writeIndex(pack io.Reader, made storer.EncodedObjectStorer) (base string, err error) {
	index := &idxfile.Writer{}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(pack), made, index)
	if err != nil {
		return "", err
	}
	sum, err := parser.Parse()
	if err != nil {
		return "", err
	}
	entries, err := index.Index()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if _, err := idxfile.NewEncoder(&b).Encode(entries); err != nil {
		return "", err
	}
	base = filepath.Join(packFolder(o.dir), "pack-"+sum.String())
	return base, placeFile(o.dir, base+".idx", b.Bytes())
}

// crowded says whether it is time to make many small packs one.
func (o *objects) crowded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.smallPacks > maxSmallPacks || o.recentBytes > maxRecent
}

// small lists the packs that are small, without their endings.
func (o *objects) small() ([]string, error) {
	folder := filepath.Join(o.dir, "objects", "pack")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		base, isPack := strings.CutSuffix(e.Name(), ".pack")
		if !isPack {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if info.Size() <= smallPack {
			all = append(all, filepath.Join(folder, base))
		}
	}
	return all, nil
}

// truncated says whether a pack does not end with the checksum that it is named by, as
// one that a power failure cut short.
func (o *objects) truncated() (bool, error) {
	packs, err := filepath.Glob(filepath.Join(o.dir, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return false, err
	}
	for _, name := range packs {
		sum := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "pack-"), ".pack")
		if !isHash(sum) {
			continue
		}
		end, err := lastBytes(name, len(plumbing.ZeroHash))
		if err != nil {
			return false, err
		}
		if hex.EncodeToString(end) != sum {
			return true, nil
		}
	}
	return false, nil
}

// lastBytes are the last n bytes of a file, or all that it has.
func lastBytes(name string, n int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	end := make([]byte, min(int64(n), info.Size()))
	_, err = f.ReadAt(end, info.Size()-int64(len(end)))
	return end, err
}

// consolidate makes the small packs one. Readers go on while it is made, and wait only
// for the small ones to be removed. One caller at a time.
func (o *objects) consolidate() error {
	small, err := o.small()
	if err != nil {
		return err
	}
	hashes := map[plumbing.Hash]bool{}
	for _, base := range small {
		if err := indexed(base+".idx", hashes); err != nil {
			return err
		}
	}
	if len(small) > 1 {
		from := openStore(o.dir)
		var pack bytes.Buffer
		sum, err := packfile.NewEncoder(&pack, from, false).Encode(slices.Collect(maps.Keys(hashes)), 0)
		if err == nil {
			err = o.writePack(pack.Bytes(), nil)
		}
		if err := errors.Join(err, from.Close()); err != nil {
			return fmt.Errorf("packs: %w", err)
		}
		small = slices.DeleteFunc(small, func(base string) bool { return strings.HasSuffix(base, "pack-"+sum.String()) })
	} else {
		small = nil
	}
	// Whoever opens the store next must not find what is being removed.
	o.mu.Lock()
	defer o.mu.Unlock()
	errs := []error{o.packs.close(), o.store.Close()}
	for _, base := range small {
		errs = append(errs, os.Remove(base+".pack"), os.Remove(base+".idx"))
	}
	o.store, o.packs, o.recent, o.recentBytes, o.smallPacks = openStore(o.dir), openPacks(packFolder(o.dir)), nil, 0, 0
	return errors.Join(errs...)
}

// indexed adds the objects of a pack's index.
func indexed(name string, hashes map[plumbing.Hash]bool) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(f).Decode(index); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	entries, err := index.Entries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer entries.Close()
	for {
		e, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		hashes[e.Hash] = true
	}
}
