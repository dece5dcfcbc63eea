package registry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The store's layout, below Options.Dir:
//
//	lock                                      held by the one process that uses the store
//	builder-token                             the builders' password, mode 0600
//	tmp/<random>                              files on their way to their place
//	blobs/<alg>/<hex[:2]>/<hex>               content, once for all repositories; never changed
//	repositories/<name>/
//	    _uploads/<id>                         what an unfinished upload has received
//	    _blobs/<alg>/<hex>                    empty: this repository holds this blob
//	    _manifests/<alg>/<hex>                first line: media type; the rest: the manifest's bytes
//	    _referrers/<alg>/<hex>/<alg>-<hex>    below a subject: the descriptor of one referrer, JSON
//	    _tags/<tag>                           the digest that the tag names, and a newline
//
// No part of a repository's name begins with an underscore, so names never collide with
// what a repository holds.
//
// Everything but an upload is written whole to tmp, synced, renamed into place, and its
// folder synced. The order of the writes makes every crash harmless: a blob before its
// link, a referrer's entry before its manifest (an entry without a manifest is not
// listed), a manifest before its tag. What a crash leaves behind is either complete, or
// unreferenced and removed by Prune.

// disk is every change of the store that has to be durable or ordered.
type disk interface {
	// Write makes a new file with the content, and returns when it is on the disk.
	Write(path string, content []byte) error
	// Sync returns when what was written to the file is on the disk.
	Sync(path string) error
	// Rename puts the file in its place, replacing what is there, makes missing
	// folders, and returns when the new name is on the disk.
	Rename(from, to string) error
	// Remove removes a file; one that is not there is no error.
	Remove(path string) error
}

// osDisk is the operating system's file system.
type osDisk struct{}

func (osDisk) Write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (osDisk) Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d osDisk) Rename(from, to string) error {
	folder := filepath.Dir(to)
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.makeFolder(folder); err != nil {
			return err
		}
		err = os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	return d.Sync(folder)
}

// makeFolder is os.MkdirAll which syncs the folder above each one that it makes.
func (d osDisk) makeFolder(path string) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := d.makeFolder(filepath.Dir(path)); err != nil {
			return err
		}
		return d.makeFolder(path)
	case err != nil:
		return err
	}
	return d.Sync(filepath.Dir(path))
}

func (osDisk) Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *store) tmpPath() string { return filepath.Join(s.dir, "tmp", random()) }

func (s *store) blobPath(d digest) string {
	return filepath.Join(s.dir, "blobs", d.alg, d.hex[:2], d.hex)
}

func (s *store) repoPath(repo string, below ...string) string {
	return filepath.Join(append([]string{s.dir, "repositories", filepath.FromSlash(repo)}, below...)...)
}

func (s *store) linkPath(repo string, d digest) string {
	return s.repoPath(repo, "_blobs", d.alg, d.hex)
}

func (s *store) manifestPath(repo string, d digest) string {
	return s.repoPath(repo, "_manifests", d.alg, d.hex)
}

func (s *store) tagPath(repo, tag string) string { return s.repoPath(repo, "_tags", tag) }

func (s *store) uploadPath(repo, id string) string { return s.repoPath(repo, "_uploads", id) }

func (s *store) referrersPath(repo string, subject digest) string {
	return s.repoPath(repo, "_referrers", subject.alg, subject.hex)
}

// place writes content to path so that a crash leaves the old file, or the new one.
func (s *store) place(path string, content []byte) error {
	tmp := s.tmpPath()
	if err := s.disk.Write(tmp, content); err != nil {
		return errors.Join(err, s.disk.Remove(tmp))
	}
	if err := s.disk.Rename(tmp, path); err != nil {
		return errors.Join(err, s.disk.Remove(tmp))
	}
	return nil
}

// lockFolder keeps a second process out; the lock ends with the file, also when the
// process dies.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("registry: %s is in use by another process: %w", dir, err), f.Close())
	}
	return f, nil
}

// random is 128 random bits, in hexadecimal.
func random() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its contract
	return hex.EncodeToString(b[:])
}
