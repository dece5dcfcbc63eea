package sources

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// entry is an object in a pack, by hand: its header says size, whatever content is. base is
// what the header of a delta has more.
func entry(t testing.TB, kind plumbing.ObjectType, size int, base, content []byte) []byte {
	t.Helper()
	head := []byte{byte(kind)<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	b := bytes.NewBuffer(append(head, base...))
	w := zlib.NewWriter(b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packFrom is a pack of some objects.
func packFrom(entries ...[]byte) []byte {
	pack := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(entries)))
	pack = append(pack, slices.Concat(entries...)...)
	return sealed(append(pack, make([]byte, githash.Size)...))
}

// twice is a delta that makes size bytes of as many, which are all copied.
func twice(size int) []byte {
	number := binary.AppendUvarint(nil, uint64(size))
	delta := slices.Concat(number, number)
	for left := size; left > 0; {
		n := min(left, 1<<24-1)
		delta = append(delta, 0xf0, byte(n), byte(n>>8), byte(n>>16))
		left -= n
	}
	return delta
}

// chain is a file of zeros and deltas, each upon the one before.
func chain(t testing.TB, size, deltas int) []byte {
	t.Helper()
	entries := [][]byte{entry(t, plumbing.BlobObject, size, nil, make([]byte, size))}
	delta := twice(size)
	for range deltas {
		back := len(entries[len(entries)-1])
		// Seven bits a byte, the highest first, each byte but the last one more than it says.
		distance := []byte{byte(back & 0x7f)}
		for back >>= 7; back > 0; back >>= 7 {
			back--
			distance = append([]byte{0x80 | byte(back&0x7f)}, distance...)
		}
		entries = append(entries, entry(t, plumbing.OFSDeltaObject, len(delta), distance, delta))
	}
	return packFrom(entries...)
}

// TestPacksOfHostileServersAreRefused looks at the memory that is taken: nothing runs
// beside it.
func TestPacksOfHostileServersAreRefused(t *testing.T) {
	blob := entry(t, plumbing.BlobObject, 5, nil, []byte("12345"))
	claims := slices.Concat(binary.AppendUvarint(nil, 5), binary.AppendUvarint(nil, 1<<40), []byte{0x90, 5})
	good := packFrom(blob)
	many := bytes.Clone(good)
	binary.BigEndian.PutUint32(many[8:], 1<<31)
	for name, c := range map[string]struct {
		pack []byte
		want string
	}{
		"a file larger than allowed": {packFrom(entry(t, plumbing.BlobObject, maxObject+1, nil, make([]byte, maxObject+1))), "an object is larger than 128 MiB"},
		"a delta that makes 1 TiB":   {packFrom(blob, entry(t, plumbing.OFSDeltaObject, len(claims), []byte{byte(len(blob))}, claims)), "an object is larger than 128 MiB"},
		"more than is said":          {packFrom(entry(t, plumbing.BlobObject, 5, nil, make([]byte, 8<<20))), "longer than it says"},
		"less than is said":          {packFrom(entry(t, plumbing.BlobObject, 1<<19+9, nil, make([]byte, 1<<19))), "EOF"},
		"much less than is said":     {packFrom(entry(t, plumbing.BlobObject, 100<<20, nil, []byte("12345"))), "outside of what the pack can hold"},
		"deltas upon deltas":         {chain(t, 96<<20, 11), "objects that build upon each other are larger than 1024 MiB"},
		"too much together":          {packFrom(slices.Repeat([][]byte{entry(t, plumbing.BlobObject, 8<<20, nil, make([]byte, 8<<20))}, 5)...), "larger than 32 MiB together"},
		"too many objects":           {sealed(many), "more than 4194304 objects"},
		"a delta upon itself":        {packFrom(blob, entry(t, plumbing.OFSDeltaObject, 4, []byte{0}, []byte{5, 5, 0x90, 5})), "builds upon itself"},
		"a delta upon nothing":       {packFrom(blob, entry(t, plumbing.OFSDeltaObject, 4, []byte{100}, []byte{5, 5, 0x90, 5})), "outside of what the pack can hold"},
		"another checksum":           {append(bytes.Clone(good[:len(good)-1]), 1), "does not have its checksum"},
		"something after it":         {append(bytes.Clone(good), good...), "after its objects"},
		"half of it":                 {good[:len(good)-githash.Size-3], "unexpected EOF"},
		"something else":             {[]byte("<html>not found</html>"), "does not begin as one"},
	} {
		o := stored(t)
		limit := int64(64 << 20)
		if name == "too much together" {
			limit = 1 << 20
		}
		thrifty(t, 4<<20, func() {
			err := o.receive(bytes.NewReader(c.pack), limit)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %d bytes: %v", name, len(c.pack), err)
			}
		})
		if left, err := os.ReadDir(packFolder(o.dir)); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

// TestReadersTakeMemoryForWhatIsThere reads what says that it has 100 MiB, and has 2. It
// looks at the memory that is taken: nothing runs beside it.
func TestReadersTakeMemoryForWhatIsThere(t *testing.T) {
	noise := make([]byte, 2<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	content := packFrom(entry(t, plumbing.BlobObject, 100<<20, nil, noise))
	p := openPacks("")
	thrifty(t, 16<<20, func() {
		_, err := p.at(packPlace{&pack{name: "it", content: nopCloser{bytes.NewReader(content)}, size: int64(len(content))}, packStart})
		if !refused(err) {
			t.Error(err)
		}
	})
}

// TestHashesThatBuildUponEachOther is a pack whose index leads from one delta to the other
// and back, which no server can bring about.
func TestHashesThatBuildUponEachOther(t *testing.T) {
	t.Parallel()
	a, b := plumbing.Hash{1}, plumbing.Hash{2}
	first := entry(t, plumbing.REFDeltaObject, 4, b[:], []byte{5, 5, 0x90, 5})
	content := packFrom(first, entry(t, plumbing.REFDeltaObject, 4, a[:], []byte{5, 5, 0x90, 5}))
	index := packIndex{fanout: make([]byte, 256*4), names: slices.Concat(a[:], b[:]), count: 2}
	for i := 1; i < 256; i++ {
		binary.BigEndian.PutUint32(index.fanout[4*i:], uint32(min(i, 2)))
	}
	index.offsets = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, packStart), uint32(packStart+len(first)))
	readAll(t, content, index, func(h plumbing.Hash, _ packedObject, err error) {
		if !refused(err) || !strings.Contains(err.Error(), "4096 deltas upon each other") {
			t.Errorf("%s: %v", h, err)
		}
	})
}

// TestThinPacksAreRefused: Slipway does not ask for packs whose deltas build upon objects
// of others.
func TestThinPacksAreRefused(t *testing.T) {
	t.Parallel()
	work := grown(t)
	cmd := exec.Command("git", "-C", work, "pack-objects", "--stdout", "-q", "--thin", "--revs")
	cmd.Stdin = strings.NewReader("HEAD\n^HEAD~5\n")
	thin, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	o := stored(t)
	if err := o.receive(bytes.NewReader(thin), 1<<30); err == nil {
		t.Error("it was stored")
	}
	if left, err := os.ReadDir(packFolder(o.dir)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// stored is a mirror's object store, without a mirror.
func stored(t testing.TB) *objects {
	t.Helper()
	o := openObjects(t.TempDir())
	if err := os.MkdirAll(packFolder(o.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	return o
}
