package sources

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// packStart is how long a pack's own header is: PACK, its version, how many objects.
const packStart = 12

// Bounds on a pack that comes from a server.
const (
	// maxObjects is how many objects it may have.
	maxObjects = 4 << 20
	// maxChain is how long all objects may be together that build upon each other: to find
	// the hash of the last, go-git may hold all of them.
	maxChain = 1 << 30
	// lightChain is what needs no counting, because a chain has at most maxDeltas.
	lightChain = 64 << 10
)

// scale weighs a pack that comes from a server.
type scale struct {
	// objects is how many there are, and bytes how long they are, deltas applied.
	objects uint32
	bytes   int64
	// chains is how long what builds upon each other is, by where the last of it begins.
	chains map[int64]int64
	// byHash is how long all objects are that build upon one by its hash, wherever it is.
	byHash int64
}

// weigh reads a pack from its first object to its last, and refuses it if an object, what
// builds upon each other, or all together become more than they may: a few bytes can say
// that they are many. It also refuses what is no pack as a whole, by its checksum. limit
// is for the length of all objects together.
func weigh(content io.ReaderAt, size, limit int64) (scale, error) {
	w := scale{chains: map[int64]int64{}}
	p := openPacks("")
	at := packPlace{pack: &pack{name: "it", content: nopCloser{content}, size: size}}
	start, err := p.chunk(at)
	if err != nil {
		return w, err
	}
	if len(start) < packStart || !bytes.HasPrefix(start, []byte("PACK\x00\x00\x00")) || start[7] != 2 && start[7] != 3 {
		return w, fmt.Errorf("%w: it does not begin as one", errTorn)
	}
	if w.objects = binary.BigEndian.Uint32(start[8:]); w.objects > maxObjects {
		return w, fmt.Errorf("it has more than %d objects", maxObjects)
	}
	at.at = packStart
	for range w.objects {
		if at, err = w.add(p, at); err != nil {
			return w, err
		}
		if w.bytes > limit {
			return w, fmt.Errorf("its objects are larger than %d MiB together", limit>>20)
		}
	}
	return w, checkEnd(content, at.at, size)
}

// add weighs the object at a place, and answers where the next one is.
func (w *scale) add(p *packs, at packPlace) (packPlace, error) {
	head, s, err := p.header(at)
	if err != nil {
		return at, err
	}
	start, err := p.inflate.skip(s, head.size)
	if err != nil || !head.isDelta() {
		w.bytes += head.size
		return s.next, err
	}
	n, err := deltaResult(start)
	if err != nil {
		return at, err
	}
	w.bytes += n
	if head.kind == plumbing.REFDeltaObject && n > lightChain {
		w.byHash += n
	}
	chain := w.chains[at.at-head.back] + n
	if chain > lightChain {
		w.chains[at.at] = chain
	}
	if chain+w.byHash > maxChain {
		return at, fmt.Errorf("objects that build upon each other are larger than %d MiB", maxChain>>20)
	}
	return s.next, nil
}

// checkEnd checks that a pack's objects end where its checksum begins, and that it is right.
func checkEnd(content io.ReaderAt, at, size int64) error {
	if size-at != githash.Size {
		return fmt.Errorf("%w: there is more or less than its checksum after its objects", errTorn)
	}
	sum := githash.New(crypto.SHA1)
	if _, err := io.Copy(sum, io.NewSectionReader(content, 0, at)); err != nil {
		return err
	}
	end := make([]byte, githash.Size)
	if _, err := io.ReadFull(io.NewSectionReader(content, at, githash.Size), end); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), end) {
		return fmt.Errorf("%w: it does not have its checksum", errTorn)
	}
	return nil
}

// nopCloser leaves content open for whoever opened it.
type nopCloser struct{ io.ReaderAt }

func (nopCloser) Close() error { return nil }
