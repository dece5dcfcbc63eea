package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// blob is an open blob.
type blob struct {
	*os.File
	digest digest
	size   int64
	// verified says that this process has seen the content match the digest.
	verified bool
}

// statBlob says how large a blob of the repository is.
func (s *store) statBlob(repo string, d digest) (int64, error) {
	link, err := os.Stat(s.linkPath(repo, d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errBlobUnknown.with("repository %s has no blob %s", repo, d)
	}
	if err != nil {
		return 0, err
	}
	lock := s.stripe(&s.blobLocks, d.String())
	lock.RLock()
	defer lock.RUnlock()
	info, err := os.Stat(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errBlobUnknown.with("repository %s has no blob %s", repo, d)
	}
	if err != nil {
		return 0, err
	}
	s.touch(s.linkPath(repo, d), link)
	s.touch(s.blobPath(d), info)
	return info.Size(), nil
}

func (s *store) openBlob(repo string, d digest) (*blob, error) {
	// Under the lock a sweep comes before, and the blob is missing, or after, and finds
	// it touched: a client that is told of a blob can rely on it.
	lock := s.stripe(&s.repoLocks, repo)
	lock.RLock()
	size, err := s.statBlob(repo, d)
	lock.RUnlock()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errBlobUnknown
	}
	if err != nil {
		return nil, err
	}
	s.verifiedMu.RLock()
	_, seen := s.verified[d]
	s.verifiedMu.RUnlock()
	return &blob{f, d, size, seen}, nil
}

// readBlob returns a whole small blob, verified.
func (s *store) readBlob(repo string, d digest, limit int64) ([]byte, error) {
	b, err := s.openBlob(repo, d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, more than %d", d, b.size, limit)
	}
	content, err := io.ReadAll(b)
	if err == nil && digestOf(d.alg, content) != d {
		err = s.corrupt(d)
	}
	return content, err
}

// hasVerified remembers that the blob's content matches.
func (s *store) hasVerified(d digest) {
	s.verifiedMu.Lock()
	s.verified[d] = struct{}{}
	s.verifiedMu.Unlock()
}

// corrupt takes a blob whose content is not what its name says out of the way: clients
// see it missing and push it again, which mends every repository that holds it.
func (s *store) corrupt(d digest) error {
	lock := s.stripe(&s.blobLocks, d.String())
	lock.Lock()
	defer lock.Unlock()
	err := s.disk.Remove(s.blobPath(d))
	return errors.Join(fmt.Errorf("blob %s is damaged on disk and was removed", d), err)
}

// commitBlob moves a synced file, whose digest the caller has verified, to its place
// and links it to the repository. A blob that is there already is replaced: this mends
// a damaged one.
func (s *store) commitBlob(repo, file string, d digest) error {
	lock := s.stripe(&s.blobLocks, d.String())
	lock.Lock()
	defer lock.Unlock()
	now := s.now()
	if err := os.Chtimes(file, now, now); err != nil {
		return err
	}
	if err := s.disk.Rename(file, s.blobPath(d)); err != nil {
		return err
	}
	s.hasVerified(d)
	return s.place(s.linkPath(repo, d), nil)
}

// mountBlob links a blob of one repository to another; errBlobUnknown if from has none.
func (s *store) mountBlob(repo, from string, d digest) error {
	if _, err := s.statBlob(from, d); err != nil {
		return err
	}
	lock := s.stripe(&s.blobLocks, d.String())
	lock.Lock()
	defer lock.Unlock()
	now := s.now()
	if err := os.Chtimes(s.blobPath(d), now, now); errors.Is(err, fs.ErrNotExist) {
		return errBlobUnknown
	} else if err != nil {
		return err
	}
	return s.place(s.linkPath(repo, d), nil)
}

// deleteBlob takes the blob from this repository only; its content goes with the last
// repository that holds it, at the next Prune.
func (s *store) deleteBlob(repo string, d digest) error {
	if _, err := s.statBlob(repo, d); err != nil {
		return err
	}
	return s.disk.Remove(s.linkPath(repo, d))
}
