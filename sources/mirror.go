package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Mirror is one repository's bare mirror.
type Mirror struct {
	owner   *Mirrors
	dir     string
	objects *objects
	// lfs has the content of the LFS pointers that were followed.
	lfs *lfsStore
	// depth is how many commits of history a fetch brings; 0: all.
	depth int

	// network is held, as a token, by the one fetch or push that is under way.
	network chan struct{}

	// mu guards what follows. It is never held over I/O other than replacing the refs.
	mu   sync.Mutex
	refs refs
	// extra are full names outside of refs/heads and refs/tags that somebody asked for.
	extra map[string]bool
	// borrowed is when somebody other than a GitRepository opened it.
	borrowed time.Time
	// lastStart and lastErr describe the last complete look.
	lastStart time.Time
	lastErr   error
}

func openMirror(owner *Mirrors, dir string, l Location, depth int) (*Mirror, error) {
	for _, sub := range []string{"objects/pack", "objects/info", "refs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf("[core]\n\trepositoryformatversion = 0\n\tbare = true\n[remote \"origin\"]\n\turl = %q\n", l.Fetch)
	if err := replaceFile(filepath.Join(dir, "config"), []byte(config)); err != nil {
		return nil, err
	}
	if err := sweep(dir); err != nil {
		return nil, err
	}
	// Its time says when it was used last: see Mirrors.Sweep.
	if now := time.Now(); os.Chtimes(dir, now, now) != nil {
		return nil, fmt.Errorf("%s: its time cannot be set", dir)
	}
	known, err := readRefs(dir)
	if err != nil {
		return nil, err
	}
	store := openObjects(dir)
	torn, err := store.truncated()
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	if torn || damaged(known, store) {
		if err := errors.Join(store.close(), discard(dir)); err != nil {
			return nil, err
		}
		known, store = refs{names: map[string]plumbing.Hash{}, peeled: map[string]plumbing.Hash{}}, openObjects(dir)
	}
	small, err := store.small()
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	store.smallPacks = len(small)
	if store.shallows.all, err = readShallows(dir); err != nil {
		return nil, errors.Join(err, store.close())
	}
	return &Mirror{owner: owner, dir: dir, depth: depth, refs: known, objects: store, lfs: &lfsStore{dir: filepath.Join(dir, "lfs")}, network: make(chan struct{}, 1), extra: map[string]bool{}}, nil
}

// current is what the references were at the last good look.
func (r *Mirror) current() refs {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refs
}

// set makes seen current. Every object that it reaches must be stored before.
func (r *Mirror) set(seen refs) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refs.equal(seen) {
		return nil
	}
	if err := writeRefs(r.dir, r.refs, seen); err != nil {
		return err
	}
	r.refs = seen
	return nil
}

// take waits for the network token.
func (r *Mirror) take(ctx context.Context) error {
	select {
	case r.network <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for another look at the same repository: %w", ctx.Err())
	}
}

func (r *Mirror) release() { <-r.network }

// Has says whether a commit, with all that it reaches, is in the mirror: whether it is
// a tip or an object that came with one.
func (r *Mirror) Has(commit string) bool {
	if !isHash(commit) {
		return false
	}
	_, err := r.objects.commit(plumbing.NewHash(commit))
	return err == nil
}
