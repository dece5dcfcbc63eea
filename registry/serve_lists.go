package registry

import (
	"net/http"
	"net/url"
	"sort"
	"strconv"

	"github.com/gin-gonic/gin"
)

// maxPage is how many names one answer lists where a client asked for more, or, in the
// catalog, did not say.
const maxPage = 1000

// paging reads n and last. unset is n's default; negative stands for all.
func paging(c *gin.Context, unset int) (page, error) {
	p := page{n: unset, last: c.Query("last")}
	q, ok := c.GetQuery("n")
	if !ok {
		return p, nil
	}
	n, err := parseSize(q)
	if err != nil {
		return p, errPage.with("n: %v", err)
	}
	p.n = int(min(n, maxPage))
	return p, nil
}

// cut returns the part of a sorted list that the page asks for, and whether more follows.
func (p page) cut(names []string) ([]string, bool) {
	if p.last != "" {
		i := sort.SearchStrings(names, p.last)
		if i < len(names) && names[i] == p.last {
			i++
		}
		names = names[i:]
	}
	if p.n < 0 || len(names) <= p.n {
		return names, false
	}
	return names[:p.n], p.n > 0
}

func link(c *gin.Context, values url.Values) {
	c.Header("Link", "<"+c.Request.URL.EscapedPath()+"?"+values.Encode()+`>; rel="next"`)
}

func (p page) link(c *gin.Context, names []string) {
	link(c, url.Values{"n": {strconv.Itoa(p.n)}, "last": {names[len(names)-1]}})
}

func (r *Registry) listTags(c *gin.Context, t target) error {
	p, err := paging(c, -1)
	if err != nil {
		return err
	}
	tags, err := r.store.tags(t.repo)
	if err != nil {
		return err
	}
	tags, more := p.cut(tags)
	if more {
		p.link(c, tags)
	}
	c.JSON(http.StatusOK, map[string]any{"name": t.repo, "tags": tags})
	return nil
}

// catalog lists the repositories that the caller may pull from.
func (r *Registry) catalog(c *gin.Context, identity string) {
	if c.Request.Method != http.MethodGet {
		r.fail(c, errMethod)
		return
	}
	p, err := paging(c, maxPage)
	if err != nil {
		r.fail(c, err)
		return
	}
	all, err := r.store.repositories()
	if err != nil {
		r.fail(c, err)
		return
	}
	names := all[:0]
	for _, name := range all {
		if r.allow(c, identity, name, VerbPull) {
			names = append(names, name)
		}
	}
	names, more := p.cut(names)
	if more {
		p.link(c, names)
	}
	c.JSON(http.StatusOK, map[string]any{"repositories": names})
}

// index is an OCI image index, as the referrers API answers with.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

func (r *Registry) listReferrers(c *gin.Context, t target) error {
	subject, err := refDigest(t.ref)
	if err != nil {
		return err
	}
	artifactType := c.Query("artifactType")
	found, next, err := r.store.referrers(t.repo, subject, artifactType, c.Query("last"))
	if err != nil {
		return err
	}
	if artifactType != "" {
		c.Header("OCI-Filters-Applied", "artifactType")
	}
	if next != "" {
		values := url.Values{"last": {next}}
		if artifactType != "" {
			values.Set("artifactType", artifactType)
		}
		link(c, values)
	}
	c.Header("Content-Type", typeOCIIndex)
	c.JSON(http.StatusOK, index{2, typeOCIIndex, found})
	return nil
}
