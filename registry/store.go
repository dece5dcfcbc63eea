package registry

import (
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// store is the content on disk. Its methods return a *refusal for what a client did
// wrong, and any other error for what failed here.
type store struct {
	dir   string
	disk  disk
	now   func() time.Time
	seed  maphash.Seed
	lock  *os.File
	grace time.Duration

	// blobLocks order linking a blob against sweeping it: whoever makes or links a blob
	// holds its lock and renews its time of change; the sweep looks again under the lock.
	blobLocks stripes
	// repoLocks are held for reading while a manifest's references are checked and it is
	// written, and for writing while a repository is swept.
	repoLocks stripes
	// tagLocks order the pushes of one tag and what the Sink is told about them.
	tagLocks stripes

	uploadsMu sync.Mutex
	// uploads holds what is known of unfinished uploads besides their bytes on disk;
	// guarded by uploadsMu.
	uploads map[string]*upload

	verifiedMu sync.RWMutex
	// verified names the blobs whose content this process has seen to match their
	// digest; guarded by verifiedMu.
	verified map[digest]struct{}
}

// stripes are locks by name; two names may share one, so nobody holds two of the same
// stripes at a time.
type stripes [256]sync.RWMutex

func (s *store) stripe(locks *stripes, name string) *sync.RWMutex {
	return &locks[maphash.String(s.seed, name)%uint64(len(locks))]
}

func openStore(dir string, d disk, now func() time.Time, grace time.Duration) (*store, error) {
	for _, sub := range []string{"tmp", "blobs", "repositories"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &store{
		dir: dir, disk: d, now: now, seed: maphash.MakeSeed(), lock: lock, grace: grace,
		uploads: map[string]*upload{}, verified: map[digest]struct{}{},
	}
	// Nobody else uses the store, so what is in tmp was left by a crash.
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	for _, e := range left {
		if err == nil {
			err = d.Remove(filepath.Join(dir, "tmp", e.Name()))
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) close() error { return s.lock.Close() }

// touch renews a file's time of change, at most every tenth of the grace time, so that
// what a client was told to be there is not swept before its manifest arrives.
func (s *store) touch(path string, info os.FileInfo) {
	if now := s.now(); now.Sub(info.ModTime()) > s.grace/10 {
		// Best effort: a failure only makes the file look older than it is.
		_ = os.Chtimes(path, now, now)
	}
}
