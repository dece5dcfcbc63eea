package registry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func newRequest(method, path string, body []byte) (*http.Request, *httptest.ResponseRecorder) {
	return httptest.NewRequest(method, path, bytes.NewReader(body)), httptest.NewRecorder()
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/", "/_catalog", "/a/b/tags/list", "/a/blobs/uploads/", "/a/blobs/uploads/x", "/a/blobs/sha256:00", "/a/manifests/x", "/../x/manifests/y", "/a//b/tags/list", "/tags/list"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := route(path)
		if err != nil || got.repo == "" {
			return
		}
		s := &store{dir: "/store"}
		for _, p := range []string{s.repoPath(got.repo, "_tags"), s.uploadPath(got.repo, "0")} {
			if !strings.HasPrefix(p, "/store/repositories/") || filepath.Clean(p) != p {
				t.Errorf("%q leads to %q", path, p)
			}
		}
		for part := range strings.SplitSeq(got.repo, "/") {
			if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") || part == "" {
				t.Errorf("%q names %q", path, got.repo)
			}
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("0", 64))
	f.Add("sha512:" + strings.Repeat("a", 128))
	f.Add("sha256:../../..")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDigest(s)
		if err != nil {
			return
		}
		if d.String() != s || strings.ContainsAny(d.hex, "./") || hashes[d.alg] == nil {
			t.Errorf("%q → %+v", s, d)
		}
	})
}

func FuzzChunk(f *testing.F) {
	for _, s := range []string{"0-0", "1-0", "-1-2", "0-9223372036854775807", "+1-2", " 1-2", "1-2-3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseChunk(s)
		if err == nil && (c.first < 0 || c.last < c.first || c.length() <= 0) {
			t.Errorf("%q → %+v", s, c)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(typeOCIManifest, []byte(`{"schemaVersion":2,"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`))
	f.Add(typeOCIIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add("", []byte(`{"Manifests":[]}`))
	f.Fuzz(func(t *testing.T, contentType string, content []byte) {
		m, err := parseManifest(contentType, content)
		if err != nil {
			return
		}
		if m.size < 0 || strings.ContainsAny(m.mediaType, "\n") {
			t.Errorf("%+v", m)
		}
		if _, err := parseManifest(m.mediaType, content); err != nil {
			t.Errorf("what was accepted does not parse again: %v", err)
		}
	})
}
