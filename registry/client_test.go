package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// sinkRecorder keeps what was pushed; fail makes it refuse.
type sinkRecorder struct {
	mu     sync.Mutex
	pushes []Push
	fail   error
}

func (s *sinkRecorder) Pushed(_ context.Context, p Push) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.pushes = append(s.pushes, p)
	return nil
}

// client talks to a registry as its builder.
type client struct {
	t    testing.TB
	reg  *Registry
	url  string
	user string
	pass string
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func start(t testing.TB, o Options) *client {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Log == nil {
		o.Log = quiet()
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := r.Close(); err != nil && !errors.Is(err, errClosed) {
			t.Error(err)
		}
	})
	user, pass := r.BuilderAuth()
	return &client{t, r, srv.URL, user, pass}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code() string {
	var e errorBody
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

// do sends a request; headers alternate name and value.
func (c *client) do(method, path string, body io.Reader, headers ...string) answer {
	c.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = c.url + path
	}
	req, err := http.NewRequest(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.pass)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

func (c *client) want(status int, method, path string, body []byte, headers ...string) answer {
	c.t.Helper()
	a := c.do(method, path, bytes.NewReader(body), headers...)
	if a.status != status {
		c.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

func (c *client) blob(repo string, content []byte) descriptor {
	c.t.Helper()
	d := digestOf("sha256", content)
	c.want(201, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), content)
	return descriptor{MediaType: "application/octet-stream", Digest: d.String(), Size: int64(len(content))}
}

type imageOption func(map[string]any)

func about(subject descriptor, artifactType string) imageOption {
	return func(m map[string]any) {
		m["subject"] = subject
		m["artifactType"] = artifactType
		m["annotations"] = map[string]string{"about": subject.Digest}
	}
}

// image pushes the blobs of an image and returns its manifest.
func (c *client) image(repo, text string, options ...imageOption) []byte {
	c.t.Helper()
	config := c.blob(repo, []byte(fmt.Sprintf(`{"config":{"Labels":{"text":%q}}}`, text)))
	config.MediaType = "application/vnd.oci.image.config.v1+json"
	m := map[string]any{
		"schemaVersion": 2, "mediaType": typeOCIManifest, "config": config,
		"layers": []descriptor{c.blob(repo, []byte("layer "+text))},
	}
	for _, o := range options {
		o(m)
	}
	return mustJSON(c.t, m)
}

func (c *client) push(repo, ref string, manifest []byte) descriptor {
	c.t.Helper()
	a := c.want(201, "PUT", "/v2/"+repo+"/manifests/"+ref, manifest, "Content-Type", typeOCIManifest)
	return descriptor{MediaType: typeOCIManifest, Digest: a.header.Get("Docker-Content-Digest"), Size: int64(len(manifest))}
}

func mustJSON(t testing.TB, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
