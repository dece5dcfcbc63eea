package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

// sinkError is a push which is durable here, but was not taken by the Sink.
type sinkError struct{ err error }

func (e *sinkError) Error() string {
	return "the image is stored, but its image stream was not updated; push again: " + clip(e.err.Error())
}

func (e *sinkError) Unwrap() error { return e.err }

// resolve turns a tag or a digest into a digest.
func (r *Registry) resolve(t target) (digest, error) {
	if strings.Contains(t.ref, ":") {
		return refDigest(t.ref)
	}
	if !validTag(t.ref) {
		return digest{}, errManifestUnknown.with("%q is no tag", clip(t.ref))
	}
	return r.store.resolveTag(t.repo, t.ref)
}

func (r *Registry) getManifest(c *gin.Context, t target) error {
	d, err := r.resolve(t)
	if err != nil {
		return err
	}
	m, err := r.store.announceManifest(t.repo, d)
	if err != nil {
		return err
	}
	c.Header("Docker-Content-Digest", d.String())
	c.Header("Etag", `"`+d.String()+`"`)
	if match := c.GetHeader("If-None-Match"); match == `"`+d.String()+`"` {
		c.Status(http.StatusNotModified)
		return nil
	}
	c.Header("Content-Length", strconv.Itoa(len(m.content)))
	c.Header("Content-Type", m.mediaType)
	c.Status(http.StatusOK)
	if c.Request.Method == http.MethodHead {
		c.Writer.WriteHeaderNow()
		return nil
	}
	_, err = c.Writer.Write(m.content)
	return err
}

// wanted is what a PUT asks for: the digest, and the tags that shall name it.
func wanted(t target, query []string, content []byte) (digest, []string, error) {
	tags := query
	d := digestOf("sha256", content)
	if strings.Contains(t.ref, ":") {
		want, err := refDigest(t.ref)
		if err != nil {
			return d, nil, err
		}
		if d = digestOf(want.alg, content); d != want {
			return d, nil, errDigestInvalid.with("the manifest's digest is %s, not %s", d, want)
		}
	} else {
		tags = append([]string{t.ref}, tags...)
	}
	if len(tags) > maxTags {
		return d, nil, errManifestInvalid.with("more than %d tags at once", maxTags)
	}
	for _, tag := range tags {
		if !validTag(tag) {
			return d, nil, errManifestInvalid.with("%q is no tag", clip(tag))
		}
	}
	return d, tags, nil
}

// maxTags is how many tags one push may set by `tag` parameters.
const maxTags = 64

func (r *Registry) putManifest(c *gin.Context, t target) error {
	content, err := io.ReadAll(io.LimitReader(c.Request.Body, maxManifest+1))
	if err != nil {
		return errManifestInvalid.with("the body broke off: %v", err)
	}
	if len(content) > maxManifest {
		return errManifestTooLarge
	}
	d, tags, err := wanted(t, c.QueryArray("tag"), content)
	if err != nil {
		return err
	}
	m, err := parseManifest(c.GetHeader("Content-Type"), content)
	if err != nil {
		return err
	}
	if err := r.store.putManifest(t.repo, d, m, content); err != nil {
		return err
	}
	for _, tag := range tags {
		if err := r.tag(c.Request.Context(), t.repo, tag, d, m, content); err != nil {
			return err
		}
		c.Writer.Header().Add("OCI-Tag", tag)
	}
	if !m.subject.zero() {
		c.Header("OCI-Subject", m.subject.String())
	}
	c.Header("Location", "/v2/"+t.repo+"/manifests/"+d.String())
	c.Header("Docker-Content-Digest", d.String())
	c.Status(http.StatusCreated)
	return nil
}

// tag makes the tag name the manifest and tells the Sink. Two pushes of one tag reach
// the Sink in the order in which they reached the disk.
func (r *Registry) tag(ctx context.Context, repo, tag string, d digest, m *manifest, content []byte) error {
	lock := r.store.stripe(&r.store.tagLocks, repo+":"+tag)
	lock.Lock()
	defer lock.Unlock()
	if err := r.store.putTag(repo, tag, d); err != nil {
		return err
	}
	if r.sink == nil {
		return nil
	}
	p, err := r.describe(repo, tag, d, m, content)
	if err != nil {
		return err
	}
	// The tag is set, so the Sink is to hear of it even if the client has gone.
	if err := r.sink.Pushed(context.WithoutCancel(ctx), p); err != nil {
		return &sinkError{fmt.Errorf("%s:%s: %w", repo, tag, err)}
	}
	return nil
}

func (r *Registry) deleteManifest(c *gin.Context, t target) error {
	var err error
	if strings.Contains(t.ref, ":") {
		var d digest
		if d, err = refDigest(t.ref); err == nil {
			err = r.store.deleteManifest(t.repo, d)
		}
	} else if !validTag(t.ref) {
		err = errManifestUnknown.with("%q is no tag", clip(t.ref))
	} else {
		lock := r.store.stripe(&r.store.tagLocks, t.repo+":"+t.ref)
		lock.Lock()
		err = r.store.deleteTag(t.repo, t.ref)
		lock.Unlock()
	}
	if err != nil {
		return err
	}
	c.Status(http.StatusAccepted)
	return nil
}
