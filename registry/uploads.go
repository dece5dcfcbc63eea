package registry

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
)

// upload is a blob on its way in. Its bytes are on disk; the rest may be lost: after a
// restart the sum is made again from the file.
type upload struct {
	mu   sync.Mutex
	repo string
	id   string
	path string
	// size is how many bytes have been received; guarded by mu.
	size int64
	// alg is the algorithm of running.
	alg string
	// running is the sum of the bytes so far, or nil when it has to be made from the
	// file; guarded by mu.
	running hash.Hash
}

// buffers carry bytes from the network to the disk.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// newUpload begins an upload. alg is the algorithm that the client is expected to name
// in the end; another one costs reading the file once more.
func (s *store) newUpload(repo, alg string) (*upload, error) {
	if hashes[alg] == nil {
		alg = "sha256"
	}
	id := random()
	u := &upload{repo: repo, id: id, path: s.uploadPath(repo, id), alg: alg, running: hashes[alg]()}
	if err := os.MkdirAll(s.repoPath(repo, "_uploads"), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(u.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s.uploadsMu.Lock()
	s.uploads[id] = u
	s.uploadsMu.Unlock()
	return u, nil
}

// findUpload also finds uploads that were begun before a restart. An upload belongs to
// its repository: through any other it is unknown.
func (s *store) findUpload(repo, id string) (*upload, error) {
	if !idGrammar.MatchString(id) {
		return nil, errUploadUnknown
	}
	s.uploadsMu.Lock()
	defer s.uploadsMu.Unlock()
	if u := s.uploads[id]; u != nil {
		if u.repo != repo {
			return nil, errUploadUnknown
		}
		return u, nil
	}
	info, err := os.Stat(s.uploadPath(repo, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errUploadUnknown
	}
	if err != nil {
		return nil, err
	}
	u := &upload{repo: repo, id: id, path: s.uploadPath(repo, id), size: info.Size()}
	s.uploads[id] = u
	return u, nil
}

// forget ends an upload; its file, if there still is one, is removed.
func (s *store) forget(u *upload) error {
	s.uploadsMu.Lock()
	delete(s.uploads, u.id)
	s.uploadsMu.Unlock()
	return s.disk.Remove(u.path)
}

// append adds body to the upload. If at is given the body must begin where the upload
// ends and have just that length; if not, what was received of it is dropped. Without
// at, a body that breaks off is kept as far as it came.
func (u *upload) append(body io.Reader, at *chunk) error {
	if at != nil && at.first != u.size {
		return errUploadRange.with("the chunk begins at %d, but %d bytes have been received", at.first, u.size)
	}
	f, err := os.OpenFile(u.path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errUploadUnknown
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// A write that failed half-way may have left bytes behind that were never counted.
	if err := f.Truncate(u.size); err != nil {
		return err
	}
	if _, err := f.Seek(u.size, io.SeekStart); err != nil {
		return err
	}
	if at != nil {
		body = io.LimitReader(body, at.length()+1)
	}
	to := io.Writer(f)
	if u.running != nil {
		to = io.MultiWriter(f, u.running)
	}
	buf := buffers.Get().(*[]byte)
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{body}, *buf)
	buffers.Put(buf)
	if at != nil && (err != nil || n != at.length()) {
		u.running = nil
		return errors.Join(errUploadInvalid.with("Content-Range says %d bytes, the body has %d (%v)", at.length(), n, err), f.Truncate(u.size))
	}
	if err != nil {
		u.running = nil
		if info, serr := f.Stat(); serr == nil {
			u.size = info.Size()
		}
		return errUploadInvalid.with("the body broke off after %d bytes: %v", n, err)
	}
	u.size += n
	return nil
}

// sum makes the sum of all that was received.
func (u *upload) sum(alg string) (digest, error) {
	if u.running != nil && u.alg == alg {
		return sum(alg, u.running), nil
	}
	f, err := os.Open(u.path)
	if err != nil {
		return digest{}, err
	}
	defer f.Close()
	h := hashes[alg]()
	n, err := io.Copy(h, f)
	if err != nil {
		return digest{}, err
	}
	if n != u.size {
		return digest{}, fmt.Errorf("upload %s: %d bytes on disk, %d received", u.id, n, u.size)
	}
	return sum(alg, h), nil
}

// finish turns the upload into a blob of its repository. If the content is not what
// want says, the upload ends too: nobody can mend it by adding to it.
func (s *store) finish(u *upload, want digest) error {
	got, err := u.sum(want.alg)
	if err != nil {
		return err
	}
	if got != want {
		return errors.Join(errDigestInvalid.with("the content's digest is %s, not %s", got, want), s.forget(u))
	}
	if err := s.disk.Sync(u.path); err != nil {
		return err
	}
	if err := s.commitBlob(u.repo, u.path, want); err != nil {
		return err
	}
	return s.forget(u)
}
