package sources

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// tinyPacks are packs with deltas upon offsets and upon hashes, each with its index.
func tinyPacks(f *testing.F) (packs, indexes [][]byte) {
	f.Helper()
	work := f.TempDir()
	git(f, work, "init", "--quiet")
	base := "some lines\nthat many files\nhave in common\nso that deltas pay\n"
	for _, more := range []string{"1", "2", "3"} {
		base += "and " + more + "\n"
		commitIn(f, work, more, map[string]string{"d/f": base, "g": more})
	}
	for _, offsets := range []string{"true", "false"} {
		git(f, work, "-c", "repack.useDeltaBaseOffset="+offsets, "repack", "-adfq")
		pack := onePack(f, filepath.Join(work, ".git"))
		for ending, all := range map[string]*[][]byte{".pack": &packs, ".idx": &indexes} {
			content, err := os.ReadFile(pack + ending)
			if err != nil {
				f.Fatal(err)
			}
			*all = append(*all, content)
		}
	}
	return packs, indexes
}

// sealed is content with the checksum that it should have at its end.
func sealed(content []byte) []byte {
	body := content[:max(0, len(content)-githash.Size)]
	sum := githash.New(crypto.SHA1)
	sum.Write(body)
	return sum.Sum(bytes.Clone(body))
}

// refused says whether err is one of those with which packs are refused.
func refused(err error) bool {
	return errors.Is(err, errTorn) || errors.Is(err, errLarge) || errors.Is(err, plumbing.ErrObjectNotFound)
}

// thrifty fails if do takes more memory, all in all, than bytes.
func thrifty(t *testing.T, bytes uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > bytes {
		t.Errorf("it took %d bytes of memory, more than %d", spent, bytes)
	}
}

// FuzzPackIndex finds every name of an index, and names that it does not have.
func FuzzPackIndex(f *testing.F) {
	_, indexes := tinyPacks(f)
	for _, index := range indexes {
		f.Add(index)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = sealed(data)
		if len(data) < indexEnd {
			return
		}
		sum := plumbing.Hash(data[len(data)-indexEnd : len(data)-githash.Size])
		thrifty(t, 1<<20, func() {
			x, err := parseIndex(data, sum)
			if err != nil {
				if !refused(err) {
					t.Fatal(err)
				}
				return
			}
			for i := range x.count {
				h := plumbing.Hash(x.names[i*githash.Size : (i+1)*githash.Size])
				for _, h := range []plumbing.Hash{h, plumbing.ComputeHash(plumbing.BlobObject, h[:])} {
					offset, found, err := x.find(h)
					if offset < 0 || found && err != nil || err != nil && !refused(err) {
						t.Fatal(offset, found, err)
					}
				}
			}
		})
	})
}

// FuzzPackRead reads packs that are not as their index says, and stores them as if a
// server had sent them: what is stored must be read with the content that its hash names.
func FuzzPackRead(f *testing.F) {
	packs, indexes := tinyPacks(f)
	for i, pack := range packs {
		f.Add(pack, i == 1)
	}
	blob := entry(f, plumbing.BlobObject, 5, nil, []byte("12345"))
	f.Add(packFrom(blob, entry(f, plumbing.OFSDeltaObject, 5, []byte{byte(len(blob))}, []byte{5, 5, 0x90, 5})), true)
	f.Add(packFrom(blob, entry(f, plumbing.BlobObject, maxObject, nil, make([]byte, 1<<20))), true)
	f.Fuzz(func(t *testing.T, content []byte, hashes bool) {
		content = sealed(content)
		data := indexes[0]
		if hashes {
			data = indexes[1]
		}
		index, err := parseIndex(data, plumbing.Hash(data[len(data)-indexEnd:len(data)-githash.Size]))
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, content, index, func(h plumbing.Hash, obj packedObject, err error) {
			if err != nil && !refused(err) {
				t.Fatal(err)
			}
		})
		const limit = 1 << 20
		var weighed error
		thrifty(t, 8<<20, func() { _, weighed = weigh(bytes.NewReader(content), int64(len(content)), limit) })
		if weighed != nil {
			return
		}
		base, err := stored(t).writeIndex(bytes.NewReader(content), nil)
		if err != nil {
			return
		}
		if data, err = os.ReadFile(base + ".idx"); err != nil {
			t.Fatal(err)
		}
		if index, err = parseIndex(data, plumbing.NewHash(filepath.Base(base)[len("pack-"):])); err != nil {
			t.Fatal(err)
		}
		readAll(t, content, index, func(h plumbing.Hash, obj packedObject, err error) {
			if err != nil || plumbing.ComputeHash(obj.kind, obj.content) != h {
				t.Fatalf("%s was stored, and is read as %q, %v", h, obj.content, err)
			}
		})
	})
}

// readAll reads all that an index says is in a pack.
func readAll(t *testing.T, content []byte, index packIndex, each func(plumbing.Hash, packedObject, error)) {
	t.Helper()
	p := openPacks("")
	p.listed, p.open = true, []*pack{{name: "it", index: index, content: nopCloser{bytes.NewReader(content)}, size: int64(len(content))}}
	for i := range index.count {
		h := plumbing.Hash(index.names[i*githash.Size : (i+1)*githash.Size])
		_, sizeErr := p.size(h)
		thrifty(t, 6*maxObject, func() {
			obj, err := p.read(h)
			if sizeErr != nil && err == nil {
				t.Fatalf("it is read, but has no size: %v", sizeErr)
			}
			each(h, obj, err)
		})
	}
}
