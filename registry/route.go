package registry

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// endpoint is one of the API's kinds of paths.
type endpoint string

const (
	endBase      endpoint = "base"
	endToken     endpoint = "token"
	endCatalog   endpoint = "catalog"
	endTags      endpoint = "tags"
	endManifest  endpoint = "manifest"
	endBlob      endpoint = "blob"
	endUploads   endpoint = "uploads"
	endUpload    endpoint = "upload"
	endReferrers endpoint = "referrers"
)

// target is what a path names. ref is a tag, a digest or an upload's id.
type target struct {
	endpoint endpoint
	repo     string
	ref      string
}

// route takes a path below /v2 apart. Names contain slashes, so it reads from the end.
func route(path string) (target, error) {
	path = strings.TrimPrefix(path, "/")
	switch path {
	case "":
		return target{endpoint: endBase}, nil
	case "_token":
		return target{endpoint: endToken}, nil
	case "_catalog":
		return target{endpoint: endCatalog}, nil
	}
	parts := strings.Split(path, "/")
	n := len(parts)
	at := func(i int) string {
		if n+i < 0 {
			return ""
		}
		return parts[n+i]
	}
	var t target
	cut := 2
	switch {
	case at(-2) == "tags" && at(-1) == "list":
		t = target{endpoint: endTags}
	case at(-2) == "manifests":
		t = target{endpoint: endManifest, ref: at(-1)}
	case at(-2) == "referrers":
		t = target{endpoint: endReferrers, ref: at(-1)}
	case at(-3) == "blobs" && at(-2) == "uploads" && at(-1) == "":
		t, cut = target{endpoint: endUploads}, 3
	case at(-3) == "blobs" && at(-2) == "uploads":
		t, cut = target{endpoint: endUpload, ref: at(-1)}, 3
	case at(-2) == "blobs" && at(-1) == "uploads":
		t = target{endpoint: endUploads}
	case at(-2) == "blobs":
		t = target{endpoint: endBlob, ref: at(-1)}
	default:
		return target{}, errNotFound
	}
	t.repo = strings.Join(parts[:max(n-cut, 0)], "/")
	if !validName(t.repo) {
		return target{}, errNameInvalid.with("repository name %q is invalid", clip(t.repo))
	}
	return t, nil
}

// verb is what the method does to an endpoint's repository.
func verb(e endpoint, method string) Verb {
	switch {
	case method == http.MethodGet && e == endUpload:
		return VerbPush
	case method == http.MethodGet || method == http.MethodHead:
		return VerbPull
	case method == http.MethodDelete && e != endUpload:
		return VerbDelete
	}
	return VerbPush
}

// serve is every request's way: who, what, may he, do it.
func (r *Registry) serve(c *gin.Context) {
	c.Header("Docker-Distribution-Api-Version", "registry/2.0")
	c.Header("X-Content-Type-Options", "nosniff")
	identity, err := r.gate.identify(c.Request)
	if err != nil {
		r.refuse(c, err.(*refusal), "", VerbPull)
		return
	}
	t, err := route(c.Param("path"))
	if err != nil {
		r.fail(c, err)
		return
	}
	switch t.endpoint {
	case endBase:
		r.base(c, identity)
		return
	case endToken:
		r.token(c, identity)
		return
	case endCatalog:
		r.catalog(c, identity)
		return
	}
	v := verb(t.endpoint, c.Request.Method)
	if !r.allow(c, identity, t.repo, v) {
		if identity == "" {
			r.refuse(c, errUnauthorized, t.repo, v)
			return
		}
		r.fail(c, errDenied)
		return
	}
	if err := r.dispatch(c, t, identity); err != nil {
		r.fail(c, err)
	}
}

func (r *Registry) dispatch(c *gin.Context, t target, identity string) error {
	switch key := c.Request.Method + " " + string(t.endpoint); key {
	case "GET tags":
		return r.listTags(c, t)
	case "GET referrers":
		return r.listReferrers(c, t)
	case "GET manifest", "HEAD manifest":
		return r.getManifest(c, t)
	case "PUT manifest":
		return r.putManifest(c, t)
	case "DELETE manifest":
		return r.deleteManifest(c, t)
	case "GET blob", "HEAD blob":
		return r.getBlob(c, t)
	case "DELETE blob":
		return r.deleteBlob(c, t)
	case "POST uploads":
		return r.beginUpload(c, t, identity)
	case "GET upload", "PATCH upload", "PUT upload", "DELETE upload":
		return r.upload(c, t)
	}
	return errMethod
}

func (r *Registry) allow(c *gin.Context, identity, repo string, v Verb) bool {
	return r.auth.Allow(c.Request.Context(), Access{Identity: identity, Remote: remote(c.Request), Repository: repo, Verb: v})
}

// base tells a client that this is a registry. Without credentials it answers with a
// challenge: Docker decides by it whether it will ever send any.
func (r *Registry) base(c *gin.Context, identity string) {
	if c.Request.Header.Get("Authorization") == "" && identity == "" {
		r.refuse(c, errUnauthorized, "", VerbPull)
		return
	}
	c.JSON(http.StatusOK, struct{}{})
}

// token answers with a Bearer token for the caller, also for one without credentials;
// what it is good for is decided at each request.
func (r *Registry) token(c *gin.Context, identity string) {
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodPost {
		r.fail(c, errMethod)
		return
	}
	t := r.gate.token(identity)
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, map[string]any{"token": t, "access_token": t, "expires_in": int(tokenLife.Seconds())})
}

func (r *Registry) refuse(c *gin.Context, e *refusal, repo string, v Verb) {
	c.Header("WWW-Authenticate", challenge(c.Request, repo, v))
	r.fail(c, e)
}

type errorBody struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// fail answers with the specification's error body. What failed here is logged whole.
func (r *Registry) fail(c *gin.Context, err error) {
	var e *refusal
	if !errors.As(err, &e) {
		level := slog.LevelError
		if c.Request.Context().Err() != nil {
			level = slog.LevelDebug // the client has gone
		}
		r.log.Log(c.Request.Context(), level, "registry: request failed", "method", c.Request.Method, "path", clip(c.Request.URL.Path), "error", err)
		e = &refusal{http.StatusInternalServerError, "UNKNOWN", "the registry failed; its log says more"}
		var s *sinkError
		if errors.As(err, &s) {
			e.message = s.Error()
		}
	}
	if c.Writer.Written() {
		// What was promised by Content-Length is missing, so the server closes the
		// connection, and the client knows.
		c.Abort()
		return
	}
	body, jerr := json.Marshal(errorBody{[]errorEntry{{e.code, e.message}}})
	if jerr != nil {
		body = nil // two strings always marshal
	}
	for _, h := range []string{"Content-Length", "Etag", "Docker-Content-Digest"} {
		c.Writer.Header().Del(h)
	}
	c.Data(e.status, "application/json", body)
	c.Abort()
}
