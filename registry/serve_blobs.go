package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

func refDigest(ref string) (digest, error) {
	d, err := parseDigest(ref)
	if err != nil {
		return d, errDigestInvalid.with("%v", err)
	}
	return d, nil
}

func (r *Registry) getBlob(c *gin.Context, t target) error {
	d, err := refDigest(t.ref)
	if err != nil {
		return err
	}
	b, err := r.store.openBlob(t.repo, d)
	if err != nil {
		return err
	}
	defer b.Close()
	h := c.Writer.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", `"`+d.String()+`"`)
	h.Set("Cache-Control", "max-age=31536000, immutable")
	if b.verified || c.Request.Method == http.MethodHead || c.Request.Header.Get("Range") != "" {
		http.ServeContent(sender{c.Writer}, c.Request, "", time.Time{}, b.File)
		return nil
	}
	return r.firstRead(c, b)
}

// firstRead sends a blob that this process has not read yet, and sums it on the way.
// The last bytes go out only when the sum is right: a client never gets damaged content
// whole.
func (r *Registry) firstRead(c *gin.Context, b *blob) error {
	h := hashes[b.digest.alg]()
	keep := min(b.size, 64<<10)
	c.Header("Content-Length", strconv.FormatInt(b.size, 10))
	body := io.TeeReader(b.File, h)
	if b.size > keep {
		c.Status(http.StatusOK)
		if _, err := io.CopyN(c.Writer, body, b.size-keep); err != nil {
			return fmt.Errorf("sending blob %s: %w", b.digest, err)
		}
	}
	last := make([]byte, keep)
	if _, err := io.ReadFull(body, last); err != nil {
		return errors.Join(err, r.store.corrupt(b.digest))
	}
	if sum(b.digest.alg, h) != b.digest {
		return r.store.corrupt(b.digest)
	}
	r.store.hasVerified(b.digest)
	if _, err := c.Writer.Write(last); err != nil {
		return fmt.Errorf("sending blob %s: %w", b.digest, err)
	}
	return nil
}

// sender lets the kernel copy from the file to the connection, which gin's writer alone
// would prevent.
type sender struct{ gin.ResponseWriter }

// ReadFrom implements io.ReaderFrom.
func (s sender) ReadFrom(from io.Reader) (int64, error) {
	s.WriteHeaderNow()
	if u, ok := s.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
		return io.Copy(u.Unwrap(), from)
	}
	return io.Copy(struct{ io.Writer }{s.ResponseWriter}, from)
}

func (r *Registry) deleteBlob(c *gin.Context, t target) error {
	d, err := refDigest(t.ref)
	if err != nil {
		return err
	}
	if err := r.store.deleteBlob(t.repo, d); err != nil {
		return err
	}
	c.Status(http.StatusAccepted)
	return nil
}

// beginUpload answers POST: a mount, a whole blob, or the begin of an upload.
func (r *Registry) beginUpload(c *gin.Context, t target, identity string) error {
	if mount := c.Query("mount"); mount != "" {
		done, err := r.mount(c, t, identity, mount)
		if done || err != nil {
			return err
		}
	}
	var want digest
	alg := c.Query("digest-algorithm")
	if q := c.Query("digest"); q != "" {
		var err error
		if want, err = refDigest(q); err != nil {
			return err
		}
		alg = want.alg
	}
	u, err := r.store.newUpload(t.repo, alg)
	if err != nil {
		return err
	}
	if want.zero() {
		r.uploadHeaders(c, u)
		c.Status(http.StatusAccepted)
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.append(c.Request.Body, nil); err != nil {
		if ferr := r.store.forget(u); ferr != nil {
			r.log.Warn("registry: an upload was not removed", "error", ferr)
		}
		return err
	}
	return r.finishUpload(c, u, want)
}

// mount links the blob of another repository, if the caller may pull from there. If it
// cannot be done the client is given an upload instead, as the specification wants; it
// does not learn whether the other repository has the blob.
func (r *Registry) mount(c *gin.Context, t target, identity, mount string) (bool, error) {
	d, err := refDigest(mount)
	if err != nil {
		return false, err
	}
	from := c.Query("from")
	if !validName(from) || !r.allow(c, identity, from, VerbPull) {
		return false, nil
	}
	err = r.store.mountBlob(t.repo, from, d)
	if errors.Is(err, errBlobUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.blobCreated(c, t.repo, d)
	return true, nil
}

func (r *Registry) blobCreated(c *gin.Context, repo string, d digest) {
	c.Header("Location", "/v2/"+repo+"/blobs/"+d.String())
	c.Header("Docker-Content-Digest", d.String())
	c.Status(http.StatusCreated)
}

func (r *Registry) uploadHeaders(c *gin.Context, u *upload) {
	c.Header("Location", "/v2/"+u.repo+"/blobs/uploads/"+u.id)
	c.Header("Docker-Upload-UUID", u.id)
	c.Header("Range", "0-"+strconv.FormatInt(max(u.size-1, 0), 10))
}

func (r *Registry) finishUpload(c *gin.Context, u *upload, want digest) error {
	if err := r.store.finish(u, want); err != nil {
		return err
	}
	r.blobCreated(c, u.repo, want)
	return nil
}

// upload answers for an upload that was begun: its state, a further part, its end.
func (r *Registry) upload(c *gin.Context, t target) error {
	u, err := r.store.findUpload(t.repo, t.ref)
	if err != nil {
		return err
	}
	if !u.mu.TryLock() {
		return errUploadBusy
	}
	defer u.mu.Unlock()
	switch c.Request.Method {
	case http.MethodGet:
		r.uploadHeaders(c, u)
		c.Status(http.StatusNoContent)
		return nil
	case http.MethodDelete:
		if err := r.store.forget(u); err != nil {
			return err
		}
		c.Status(http.StatusNoContent)
		return nil
	}
	var want digest
	if c.Request.Method == http.MethodPut {
		if want, err = refDigest(c.Query("digest")); err != nil {
			return err
		}
	}
	at, err := contentRange(c.Request)
	if err != nil {
		return err
	}
	if err := u.append(c.Request.Body, at); err != nil {
		r.uploadHeaders(c, u)
		return err
	}
	if c.Request.Method == http.MethodPut {
		return r.finishUpload(c, u, want)
	}
	r.uploadHeaders(c, u)
	c.Status(http.StatusAccepted)
	return nil
}

func contentRange(req *http.Request) (*chunk, error) {
	header := req.Header.Get("Content-Range")
	if header == "" {
		return nil, nil
	}
	at, err := parseChunk(header)
	if err != nil {
		return nil, errUploadRange.with("%v", err)
	}
	if req.ContentLength >= 0 && req.ContentLength != at.length() {
		return nil, errUploadInvalid.with("Content-Range says %d bytes, Content-Length %d", at.length(), req.ContentLength)
	}
	return &at, nil
}
