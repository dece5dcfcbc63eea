package sources

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// Bounds on reading packs.
const (
	// maxObject is how long an object may be: more than the files that hosts of git take.
	maxObject = 128 << 20
	// maxDeltas is longer than any chain of deltas that git writes (pack.depth).
	maxDeltas = 4096
	// maxRatio is how much longer what zlib wrote can become.
	maxRatio = 1032
	// objectCache and chunkCache are how many bytes of objects and of packs are kept.
	objectCache = 4 << 20
	chunkCache  = 2 << 20
	chunkSize   = 32 << 10
	// keptCost is what keeping an object takes beside its content.
	keptCost = 128
)

// errLarge says that an object is longer than any that is stored.
var errLarge = fmt.Errorf("an object is larger than %d MiB", maxObject>>20)

// packs reads the objects of a folder of packs as it was when it was opened. Readers of
// trees ask for thousands of small objects which are near each other in the pack: it is
// read in chunks, and what deltas build upon is kept. It is not safe for concurrent use.
type packs struct {
	folder string
	// open are the packs, once they were listed; last is the one that had the last object.
	open    []*pack
	listed  bool
	closed  bool
	last    int
	objects kept[packPlace, packedObject]
	chunks  kept[packPlace, []byte]
	inflate inflater
}

type pack struct {
	name  string
	index packIndex
	// content is opened by the first read, which also sets its size.
	content interface {
		io.ReaderAt
		io.Closer
	}
	size int64
}

// packPlace is a byte of a pack.
type packPlace struct {
	pack *pack
	at   int64
}

// packedObject is an object as it is read. Its content is shared: nobody may change it.
type packedObject struct {
	kind    plumbing.ObjectType
	content []byte
}

func openPacks(folder string) *packs {
	return &packs{folder: folder, objects: newKept[packPlace, packedObject](objectCache), chunks: newKept[packPlace, []byte](chunkCache)}
}

// close lets go of the files. Who reads after it fails, rather than opening them again.
func (p *packs) close() error {
	var errs []error
	for _, each := range p.open {
		if each.content != nil {
			errs = append(errs, each.content.Close())
		}
	}
	p.open, p.closed = nil, true
	return errors.Join(errs...)
}

// list finds the packs and reads their indexes.
func (p *packs) list() error {
	if p.closed {
		return fmt.Errorf("%s: %w", p.folder, os.ErrClosed)
	}
	if p.listed {
		return nil
	}
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return err
	}
	var all []*pack
	for _, e := range entries {
		base, isPack := strings.CutSuffix(e.Name(), ".pack")
		sum := strings.TrimPrefix(base, "pack-")
		if !isPack || !isHash(sum) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(p.folder, base+".idx"))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s has no index", errTorn, base)
		}
		if err != nil {
			return err
		}
		index, err := parseIndex(data, plumbing.NewHash(sum))
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
		all = append(all, &pack{name: filepath.Join(p.folder, e.Name()), index: index})
	}
	p.open, p.listed, p.last = all, true, 0
	return nil
}

// find is where an object is; plumbing.ErrObjectNotFound if no pack has it.
func (p *packs) find(h plumbing.Hash) (packPlace, error) {
	if err := p.list(); err != nil {
		return packPlace{}, err
	}
	for i := range p.open {
		at := (p.last + i) % len(p.open)
		offset, found, err := p.open[at].index.find(h)
		if err != nil {
			return packPlace{}, err
		}
		if found {
			p.last = at
			return packPlace{p.open[at], offset}, nil
		}
	}
	return packPlace{}, plumbing.ErrObjectNotFound
}

// read reads an object.
func (p *packs) read(h plumbing.Hash) (packedObject, error) {
	at, err := p.find(h)
	if err != nil {
		return packedObject{}, err
	}
	return p.at(at)
}

// at reads the object that begins at a place: what is stored whole, and then every delta
// upon it. The deltas are read last, so that one of them at a time is in memory.
func (p *packs) at(place packPlace) (packedObject, error) {
	type delta struct {
		at      packPlace
		size    int64
		content *packStream
	}
	var deltas []delta
	obj, known := p.objects.get(place)
	for !known {
		head, s, err := p.header(place)
		if err != nil {
			return packedObject{}, err
		}
		if !head.isDelta() {
			obj.kind = head.kind
			if obj.content, err = p.inflate.whole(s, head.size); err != nil {
				return packedObject{}, err
			}
			p.keep(place, obj)
			break
		}
		if len(deltas) >= maxDeltas {
			return packedObject{}, fmt.Errorf("%w: more than %d deltas upon each other", errTorn, maxDeltas)
		}
		deltas = append(deltas, delta{place, head.size, s})
		if place, err = p.base(place, head); err != nil {
			return packedObject{}, err
		}
		obj, known = p.objects.get(place)
	}
	for _, d := range slices.Backward(deltas) {
		change, err := p.inflate.whole(d.content, d.size)
		if err != nil {
			return packedObject{}, err
		}
		if _, err := deltaResult(change); err != nil {
			return packedObject{}, err
		}
		if obj.content, err = packfile.PatchDelta(obj.content, change); err != nil {
			return packedObject{}, fmt.Errorf("%w: %w", errTorn, err)
		}
		p.keep(d.at, obj)
	}
	return obj, nil
}

func (p *packs) keep(place packPlace, obj packedObject) {
	p.objects.put(place, obj, keptCost+len(obj.content))
}

// base is what a delta builds upon.
func (p *packs) base(place packPlace, head packHeader) (packPlace, error) {
	if head.kind == plumbing.OFSDeltaObject {
		return packPlace{place.pack, place.at - head.back}, nil
	}
	base, err := p.find(head.base)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = fmt.Errorf("%w: no pack has %s, which an object builds upon", errTorn, head.base)
	}
	return base, err
}

// size is how long an object is, without reading it.
func (p *packs) size(h plumbing.Hash) (int64, error) {
	place, err := p.find(h)
	if err != nil {
		return 0, err
	}
	if obj, ok := p.objects.get(place); ok {
		return int64(len(obj.content)), nil
	}
	head, s, err := p.header(place)
	if err != nil || !head.isDelta() {
		return head.size, err
	}
	start, err := p.inflate.start(s, head.size)
	if err != nil {
		return 0, err
	}
	return deltaResult(start)
}

// deltaResult is how long the object is that a delta makes. Two numbers begin every delta:
// how long its base is, and its result.
func deltaResult(delta []byte) (int64, error) {
	_, delta, ok := deltaNumber(delta)
	n, _, also := deltaNumber(delta)
	if !ok || !also {
		return 0, fmt.Errorf("%w: a delta has no size", errTorn)
	}
	if n > maxObject {
		return 0, errLarge
	}
	return n, nil
}

// deltaNumber reads seven bits a byte, the lowest first.
func deltaNumber(b []byte) (n int64, rest []byte, ok bool) {
	for i, c := range b {
		if i == 9 {
			return 0, nil, false
		}
		n |= int64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// chunk is the part of a pack that holds a byte, from it on; empty at the end.
func (p *packs) chunk(place packPlace) ([]byte, error) {
	f := place.pack
	if f.content == nil {
		file, err := os.Open(f.name)
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		f.content, f.size = file, info.Size()
	}
	if place.at < 0 || place.at >= f.size {
		return nil, nil
	}
	within := place.at % chunkSize
	start := packPlace{f, place.at - within}
	data, ok := p.chunks.get(start)
	if !ok {
		data = make([]byte, min(chunkSize, f.size-start.at))
		if n, err := f.content.ReadAt(data, start.at); err != nil && !(errors.Is(err, io.EOF) && n == len(data)) {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		p.chunks.put(start, data, len(data))
	}
	return data[within:], nil
}
