package sources

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

const (
	// startSize is how much memory is taken for an object at first.
	startSize = 1 << 20
	// deltaStart is as long as the two numbers are that begin a delta.
	deltaStart = 20
)

// packStream reads a pack from a place on.
type packStream struct {
	packs *packs
	next  packPlace
	// chunk is what follows and was read already.
	chunk []byte
	// failed is why the file could not be read, which is no damage of what is in it.
	failed error
}

func (s *packStream) fill() error {
	var err error
	if s.chunk, err = s.packs.chunk(s.next); err != nil {
		s.failed = err
		return err
	}
	if len(s.chunk) == 0 {
		return io.EOF
	}
	return nil
}

func (s *packStream) ReadByte() (byte, error) {
	if len(s.chunk) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	b := s.chunk[0]
	s.chunk = s.chunk[1:]
	s.next.at++
	return b, nil
}

func (s *packStream) Read(b []byte) (int, error) {
	if len(s.chunk) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.chunk)
	s.chunk = s.chunk[n:]
	s.next.at += int64(n)
	return n, nil
}

// torn is err, which happened in reading s, as damage of the pack, unless the file could
// not be read.
func (s *packStream) torn(err error) error {
	if s.failed != nil {
		return s.failed
	}
	if errors.Is(err, errLarge) {
		return err
	}
	return fmt.Errorf("%w: %s at %d: %w", errTorn, s.next.pack.name, s.next.at, err)
}

// packHeader is what a pack says of an object before its content.
type packHeader struct {
	kind plumbing.ObjectType
	// size of the content, or of the delta.
	size int64
	// back is how far before it an OFSDeltaObject's base begins, and base a REFDeltaObject's.
	back int64
	base plumbing.Hash
}

func (h packHeader) isDelta() bool {
	return h.kind == plumbing.OFSDeltaObject || h.kind == plumbing.REFDeltaObject
}

// header reads what is before the content of the object at a place, and stands before it.
func (p *packs) header(place packPlace) (packHeader, *packStream, error) {
	s := &packStream{packs: p, next: place}
	h, err := s.header()
	switch {
	case err != nil:
	case h.size > maxObject:
		err = errLarge
	case h.size > (place.pack.size-place.at)*maxRatio || h.back > place.at:
		err = errors.New("an object's size or base is outside of what the pack can hold")
	}
	if err != nil {
		return packHeader{}, nil, s.torn(err)
	}
	return h, s, nil
}

func (s *packStream) header() (packHeader, error) {
	b, err := s.ReadByte()
	if err != nil {
		return packHeader{}, err
	}
	h := packHeader{kind: plumbing.ObjectType(b >> 4 & 7), size: int64(b & 15)}
	for shift := 4; b >= 0x80; shift += 7 {
		if b, err = s.ReadByte(); err != nil {
			return h, err
		}
		if shift > 53 {
			return h, errors.New("an object's size is too large")
		}
		h.size |= int64(b&0x7f) << shift
	}
	switch h.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return h, nil
	case plumbing.REFDeltaObject:
		_, err = io.ReadFull(s, h.base[:githash.Size])
		return h, err
	case plumbing.OFSDeltaObject:
		h.back, err = s.distance()
		return h, err
	}
	return h, fmt.Errorf("an object of type %d", h.kind)
}

// distance reads seven bits a byte, the highest first, each byte but the last one more
// than it says.
func (s *packStream) distance() (int64, error) {
	var n int64
	for i := 0; ; i++ {
		b, err := s.ReadByte()
		if err != nil {
			return 0, err
		}
		n = n<<7 | int64(b&0x7f)
		switch {
		case b < 0x80 && n == 0:
			return 0, errors.New("an object builds upon itself")
		case b < 0x80:
			return n, nil
		case i == 7:
			return 0, errors.New("an object's base is too far away")
		}
		n++
	}
}

// inflater reads what zlib wrote, with one set of buffers.
type inflater struct {
	zlib io.Reader
	end  [1]byte
}

func (i *inflater) reset(s *packStream) error {
	if i.zlib == nil {
		r, err := zlib.NewReader(s)
		i.zlib = r
		if err != nil {
			i.zlib = nil
		}
		return err
	}
	return i.zlib.(zlib.Resetter).Reset(s, nil)
}

// whole reads exactly size bytes, after which there must be no more, and whose checksum
// must be right. Memory is taken as they come, because a size is only a claim.
func (i *inflater) whole(s *packStream, size int64) ([]byte, error) {
	if err := i.reset(s); err != nil {
		return nil, s.torn(err)
	}
	content := make([]byte, 0, min(size, startSize))
	for int64(len(content)) < size {
		content = slices.Grow(content, 1)
		room := min(int64(cap(content)), size)
		n, err := io.ReadFull(i.zlib, content[len(content):room])
		content = content[:len(content)+n]
		if err != nil {
			return nil, s.torn(err)
		}
	}
	if err := i.ends(); err != nil {
		return nil, s.torn(err)
	}
	return content, nil
}

// skip is whole, of which it gives the start only.
func (i *inflater) skip(s *packStream, size int64) ([]byte, error) {
	start, err := i.start(s, size)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, i.zlib, size-int64(len(start))); err != nil {
		return nil, s.torn(err)
	}
	if err := i.ends(); err != nil {
		return nil, s.torn(err)
	}
	return start, nil
}

// ends reads the checksum, before which there must be nothing else.
func (i *inflater) ends() error {
	n, err := io.ReadFull(i.zlib, i.end[:])
	switch {
	case n > 0:
		return errors.New("an object is longer than it says")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// start reads the bytes that say what a delta makes, or fewer if there are fewer.
func (i *inflater) start(s *packStream, size int64) ([]byte, error) {
	if err := i.reset(s); err != nil {
		return nil, s.torn(err)
	}
	start := make([]byte, min(size, deltaStart))
	if _, err := io.ReadFull(i.zlib, start); err != nil {
		return nil, s.torn(err)
	}
	return start, nil
}
