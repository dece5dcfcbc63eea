package sources

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// sweep removes what a fetch that was killed leaves: temporary files, and an index
// whose pack never came, which would be taken for the index of that pack later.
func sweep(dir string) error {
	packs := filepath.Join(dir, "objects", "pack")
	entries, err := os.ReadDir(packs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		stale := strings.HasPrefix(e.Name(), "tmp_")
		if base, isIndex := strings.CutSuffix(e.Name(), ".idx"); isIndex {
			_, err := os.Lstat(filepath.Join(packs, base+".pack"))
			stale = errors.Is(err, os.ErrNotExist)
		}
		if stale {
			if err := os.Remove(filepath.Join(packs, e.Name())); err != nil {
				return err
			}
		}
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil {
		return err
	}
	for _, name := range leftovers {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// damaged says whether the branch that HEAD names cannot be read because objects are
// missing or torn, as a power failure leaves them. Any other failure to read is not
// taken for damage.
func damaged(r refs, o *objects) bool {
	h, ok := r.names[r.head]
	if !ok {
		return false
	}
	c, err := o.commit(h)
	if err == nil {
		err = o.readable(c)
	}
	// A tree that is nonsense is none: its server sent it so.
	return errors.Is(err, errTorn) || errors.Is(err, plumbing.ErrObjectNotFound)
}

// readable reads every folder and the header of every file of a commit.
func (o *objects) readable(c *object.Commit) error {
	for left := []plumbing.Hash{c.TreeHash}; len(left) > 0; {
		t, err := o.tree(left[0])
		if err != nil {
			return err
		}
		left = left[1:]
		for _, e := range t.entries {
			switch e.Mode {
			case filemode.Dir:
				left = append(left, e.Hash)
			case filemode.Submodule:
				// Its commit is in another repository.
			default:
				if _, err := o.size(e.Hash); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// discard gives up a damaged object store, so that the next fetch brings everything.
func discard(dir string) error {
	for _, name := range []string{"packed-refs", "shallow", "objects"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(dir, "objects", "pack"), 0o700)
}
