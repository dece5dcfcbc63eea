package sources

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// errTorn says that a pack, or its index, is not what git writes.
var errTorn = errors.New("the pack is damaged")

// Sizes within an index of version 2, which is git's gitformat-pack(5).
const (
	indexHeader = 8
	indexFanout = 256 * 4
	indexEntry  = githash.Size + 4 + 4
	indexEnd    = 2 * githash.Size
)

// packIndex says where in a pack objects begin. It is read in place.
type packIndex struct {
	fanout, names, offsets, large []byte
	count                         int
}

// parseIndex checks an index file as a whole: its own checksum, its sizes, and that it is
// the index of the pack with the checksum sum.
func parseIndex(data []byte, sum plumbing.Hash) (packIndex, error) {
	torn := func(why string) (packIndex, error) {
		return packIndex{}, fmt.Errorf("%w: its index %s", errTorn, why)
	}
	if len(data) < indexHeader+indexFanout+indexEnd || !bytes.HasPrefix(data, []byte{255, 't', 'O', 'c', 0, 0, 0, 2}) {
		return torn("is none of version 2")
	}
	own := githash.New(crypto.SHA1)
	own.Write(data[:len(data)-githash.Size])
	if !bytes.Equal(own.Sum(nil), data[len(data)-githash.Size:]) {
		return torn("does not have its checksum")
	}
	if !bytes.Equal(data[len(data)-indexEnd:len(data)-githash.Size], sum[:]) {
		return torn("is another pack's")
	}
	x := packIndex{fanout: data[indexHeader : indexHeader+indexFanout]}
	for i := range 256 {
		n := int(binary.BigEndian.Uint32(x.fanout[4*i:]))
		if n < x.count {
			return torn("is not sorted")
		}
		x.count = n
	}
	rest := data[indexHeader+indexFanout : len(data)-indexEnd]
	if len(rest)/indexEntry < x.count || (len(rest)-x.count*indexEntry)%8 != 0 {
		return torn("has another size than its entries")
	}
	x.names, rest = rest[:x.count*githash.Size], rest[x.count*githash.Size:]
	x.offsets, x.large = rest[x.count*4:x.count*8], rest[x.count*8:]
	return x, nil
}

// find is where an object begins.
func (x packIndex) find(h plumbing.Hash) (offset int64, found bool, err error) {
	low, high := 0, int(binary.BigEndian.Uint32(x.fanout[4*int(h[0]):]))
	if h[0] > 0 {
		low = int(binary.BigEndian.Uint32(x.fanout[4*(int(h[0])-1):]))
	}
	for low < high {
		mid := int(uint(low+high) >> 1)
		switch bytes.Compare(h[:], x.names[mid*githash.Size:(mid+1)*githash.Size]) {
		case -1:
			high = mid
		case 1:
			low = mid + 1
		default:
			offset, err = x.offset(mid)
			return offset, err == nil, err
		}
	}
	return 0, false, nil
}

// offset of an entry; those from 2 GiB on are in a table of their own.
func (x packIndex) offset(i int) (int64, error) {
	n := binary.BigEndian.Uint32(x.offsets[4*i:])
	if n < 1<<31 {
		return int64(n), nil
	}
	at := 8 * int(n&(1<<31-1))
	if at+8 > len(x.large) {
		return 0, fmt.Errorf("%w: its index has an offset outside of its table", errTorn)
	}
	large := binary.BigEndian.Uint64(x.large[at:])
	if large >= 1<<63 {
		return 0, fmt.Errorf("%w: its index has an offset that no file has", errTorn)
	}
	return int64(large), nil
}
