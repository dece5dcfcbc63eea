package registry

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// These tests follow the specification's own conformance programme: pull, push,
// discovery, management, and their errors.

func TestBlobUploads(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	body := []byte(strings.Repeat("0123456789", 1000))
	for _, alg := range []string{"sha256", "sha512"} {
		repo := "conf/" + alg
		up := "/v2/" + repo + "/blobs/uploads/"
		// Each way makes a blob of its own and says where it is.
		ways := map[string]func(content []byte, d string) answer{
			"post only": func(b []byte, d string) answer { return c.want(201, "POST", up+"?digest="+d, b) },
			"post and put": func(b []byte, d string) answer {
				loc := c.want(202, "POST", up, nil).header.Get("Location")
				return c.want(201, "PUT", loc+"?digest="+d, b)
			},
			"post with algorithm": func(b []byte, d string) answer {
				loc := c.want(202, "POST", up+"?digest-algorithm="+alg, nil).header.Get("Location")
				return c.want(201, "PUT", loc+"?digest="+d, b)
			},
			"stream": func(b []byte, d string) answer {
				loc := c.want(202, "POST", up, nil).header.Get("Location")
				a := c.do("PATCH", loc, struct{ io.Reader }{bytes.NewReader(b)}) // no length: chunked
				if a.status != 202 {
					t.Fatalf("stream: %d %s", a.status, a.body)
				}
				return c.want(201, "PUT", a.header.Get("Location")+"?digest="+d, nil)
			},
			"chunks": func(b []byte, d string) answer {
				loc := c.want(202, "POST", up, nil).header.Get("Location")
				a := c.want(202, "PATCH", loc, b[:4000], "Content-Range", "0-3999")
				if got := a.header.Get("Range"); got != "0-3999" {
					t.Errorf("Range: %q", got)
				}
				// Too far, and again from the beginning: both out of order.
				if a := c.want(416, "PATCH", loc, b[5000:6000], "Content-Range", "5000-5999"); a.header.Get("Range") != "0-3999" || a.header.Get("Location") == "" {
					t.Errorf("416 does not say where to go on: %v", a.header)
				}
				c.want(416, "PUT", loc+"?digest="+d, b[:4000], "Content-Range", "0-3999")
				if a := c.want(204, "GET", loc, nil); a.header.Get("Range") != "0-3999" {
					t.Errorf("status: %v", a.header)
				}
				last := fmt.Sprintf("4000-%d", len(b)-1)
				return c.want(201, "PUT", loc+"?digest="+d, b[4000:], "Content-Range", last)
			},
		}
		for name, way := range ways {
			content := append([]byte(name), body...)
			d := digestOf(alg, content).String()
			c.want(404, "GET", "/v2/"+repo+"/blobs/"+d, nil)
			a := way(content, d)
			if a.header.Get("Docker-Content-Digest") != d {
				t.Errorf("%s %s: digest header %q", alg, name, a.header.Get("Docker-Content-Digest"))
			}
			if got := c.want(200, "GET", a.header.Get("Location"), nil); !bytes.Equal(got.body, content) {
				t.Errorf("%s %s: got %d bytes, want %d", alg, name, len(got.body), len(content))
			}
			h := c.want(200, "HEAD", "/v2/"+repo+"/blobs/"+d, nil)
			if h.header.Get("Content-Length") != fmt.Sprint(len(content)) || h.header.Get("Docker-Content-Digest") != d {
				t.Errorf("%s %s: HEAD %v", alg, name, h.header)
			}
			c.want(202, "DELETE", "/v2/"+repo+"/blobs/"+d, nil)
			c.want(404, "HEAD", "/v2/"+repo+"/blobs/"+d, nil)
		}
		c.blob(repo, nil) // an empty blob is a blob
	}
}

func TestBadUploads(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	up := "/v2/conf/bad/blobs/uploads/"
	good, other := []byte("good"), digestOf("sha256", []byte("other")).String()
	begin := func() string { return c.want(202, "POST", up, nil).header.Get("Location") }
	cases := []struct {
		name   string
		do     func() answer
		status int
		code   string
	}{
		{"digest mismatch, post", func() answer { return c.do("POST", up+"?digest="+other, bytes.NewReader(good)) }, 400, "DIGEST_INVALID"},
		{"digest mismatch, put", func() answer { return c.do("PUT", begin()+"?digest="+other, bytes.NewReader(good)) }, 400, "DIGEST_INVALID"},
		{"no digest", func() answer { return c.do("PUT", begin(), bytes.NewReader(good)) }, 400, "DIGEST_INVALID"},
		{"unknown algorithm", func() answer { return c.do("PUT", begin()+"?digest=md5:00", bytes.NewReader(good)) }, 400, "DIGEST_INVALID"},
		{"upper-case digest", func() answer { return c.do("PUT", begin()+"?digest="+strings.ToUpper(other), bytes.NewReader(good)) }, 400, "DIGEST_INVALID"},
		{"unknown upload", func() answer { return c.do("PATCH", up+"00000000000000000000000000000000", bytes.NewReader(good)) }, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"hostile upload id", func() answer { return c.do("GET", up+"..%2f..%2ftmp", nil) }, 404, "UNSUPPORTED"},
		{"dotted upload id", func() answer { return c.do("GET", up+"..", nil) }, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"malformed range", func() answer {
			return c.do("PATCH", begin(), bytes.NewReader(good), "Content-Range", "bytes 0-3/4")
		}, 416, "BLOB_UPLOAD_INVALID"},
		{"range longer than body", func() answer { return c.do("PATCH", begin(), bytes.NewReader(good), "Content-Range", "0-8") }, 400, "BLOB_UPLOAD_INVALID"},
		{"range shorter than streamed body", func() answer {
			return c.do("PATCH", begin(), struct{ io.Reader }{bytes.NewReader(good)}, "Content-Range", "0-1")
		}, 400, "BLOB_UPLOAD_INVALID"},
		{"another repository's upload", func() answer {
			return c.do("PATCH", strings.Replace(begin(), "conf/bad", "conf/worse", 1), bytes.NewReader(good))
		}, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"name", func() answer { return c.do("POST", "/v2/Conf/bad/blobs/uploads/", nil) }, 400, "NAME_INVALID"},
	}
	for _, k := range cases {
		if a := k.do(); a.status != k.status || a.code() != k.code {
			t.Errorf("%s: got %d %s, want %d %s (%s)", k.name, a.status, a.code(), k.status, k.code, a.body)
		}
	}
	// A part that was refused leaves the upload as it was.
	loc := begin()
	c.want(202, "PATCH", loc, good[:2])
	c.want(400, "PATCH", loc, good, "Content-Range", "2-9")
	c.want(201, "PUT", loc+"?digest="+digestOf("sha256", good).String(), good[2:], "Content-Range", "2-3")
	// An upload can be given up.
	loc = begin()
	c.want(204, "DELETE", loc, nil)
	c.want(404, "GET", loc, nil)
}

func TestBlobRanges(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	content := []byte("0123456789abcdef")
	path := "/v2/conf/range/blobs/" + c.blob("conf/range", content).Digest
	for _, k := range []struct {
		ask    string
		status int
		body   string
	}{
		{"bytes=0-3", 206, "0123"}, {"bytes=4-", 206, "456789abcdef"}, {"bytes=-2", 206, "ef"},
		{"bytes=2-100", 206, "23456789abcdef"}, {"bytes=16-", 416, ""}, {"bytes=5-2", 416, ""},
	} {
		a := c.do("GET", path, nil, "Range", k.ask)
		if a.status != k.status || k.status == 206 && string(a.body) != k.body {
			t.Errorf("%s: got %d %q", k.ask, a.status, a.body)
		}
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Auth: allow(func(a Access) bool { return a.Repository != "secret/app" || a.Verb == VerbPush })})
	d := c.blob("team/app", []byte("shared")).Digest
	hidden := c.blob("secret/app", []byte("hidden")).Digest
	post := func(q string) answer { return c.do("POST", "/v2/other/app/blobs/uploads/?"+q, nil) }
	if a := post("mount=" + d + "&from=team/app"); a.status != 201 || a.header.Get("Location") == "" {
		t.Fatalf("mount: %d %s", a.status, a.body)
	}
	c.want(200, "GET", "/v2/other/app/blobs/"+d, nil)
	// What cannot be mounted becomes an upload, whatever the reason.
	for _, q := range []string{"mount=" + hidden + "&from=secret/app", "mount=" + hidden + "&from=team/app", "mount=" + d, "mount=" + d + "&from=../team/app"} {
		if a := post(q); a.status != 202 {
			t.Errorf("%s: got %d, want 202", q, a.status)
		}
	}
	c.want(404, "HEAD", "/v2/other/app/blobs/"+hidden, nil)
	// A delete takes the blob from one repository only.
	c.want(202, "DELETE", "/v2/team/app/blobs/"+d, nil)
	c.want(404, "GET", "/v2/team/app/blobs/"+d, nil)
	c.want(200, "GET", "/v2/other/app/blobs/"+d, nil)
}

func TestManifests(t *testing.T) {
	t.Parallel()
	sink := &sinkRecorder{}
	c := start(t, Options{Sink: sink})
	m := c.image("conf/app", "one")
	d := c.push("conf/app", "latest", m)
	for _, ref := range []string{"latest", d.Digest} {
		for _, method := range []string{"GET", "HEAD"} {
			a := c.want(200, method, "/v2/conf/app/manifests/"+ref, nil)
			if a.header.Get("Content-Type") != typeOCIManifest || a.header.Get("Docker-Content-Digest") != d.Digest ||
				a.header.Get("Content-Length") != fmt.Sprint(len(m)) || method == "GET" && !bytes.Equal(a.body, m) {
				t.Errorf("%s %s: %v %s", method, ref, a.header, a.body)
			}
		}
	}
	if len(sink.pushes) != 1 || sink.pushes[0].Tag != "latest" || sink.pushes[0].Digest != d.Digest || !strings.Contains(string(sink.pushes[0].Config), "one") {
		t.Errorf("sink: %+v", sink.pushes)
	}
	// By digest, of either algorithm, and with tags beside it.
	sum := sha512.Sum512(m)
	ref := "sha512:" + hex.EncodeToString(sum[:])
	a := c.want(201, "PUT", "/v2/conf/app/manifests/"+ref+"?tag=a&tag=b", m, "Content-Type", typeOCIManifest)
	if got := a.header.Values("OCI-Tag"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("OCI-Tag: %v", got)
	}
	if a := c.want(200, "HEAD", "/v2/conf/app/manifests/b", nil); a.header.Get("Docker-Content-Digest") != ref {
		t.Errorf("tag b: %v", a.header)
	}
	// An index of it, one of that, and an empty one.
	idx := mustJSON(t, index{2, typeOCIIndex, []descriptor{d}})
	a = c.want(201, "PUT", "/v2/conf/app/manifests/multi", idx, "Content-Type", typeOCIIndex)
	nested := mustJSON(t, index{2, typeOCIIndex, []descriptor{{MediaType: typeOCIIndex, Digest: a.header.Get("Docker-Content-Digest"), Size: int64(len(idx))}}})
	c.want(201, "PUT", "/v2/conf/app/manifests/nested", nested, "Content-Type", typeOCIIndex)
	c.want(201, "PUT", "/v2/conf/app/manifests/empty", mustJSON(t, index{2, typeOCIIndex, []descriptor{}}), "Content-Type", typeOCIIndex)
	// A tag goes alone, a manifest with its tags.
	c.want(202, "DELETE", "/v2/conf/app/manifests/a", nil)
	c.want(404, "GET", "/v2/conf/app/manifests/a", nil)
	c.want(202, "DELETE", "/v2/conf/app/manifests/"+d.Digest, nil)
	c.want(404, "GET", "/v2/conf/app/manifests/latest", nil)
	c.want(404, "DELETE", "/v2/conf/app/manifests/"+d.Digest, nil)
	c.want(200, "GET", "/v2/conf/app/manifests/b", nil)
	// What was removed can be pushed again.
	c.push("conf/app", "latest", m)
}

func TestBadManifests(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	good := c.image("conf/app", "x")
	with := func(key string, value any) []byte {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		m[key] = value
		return mustJSON(t, m)
	}
	missing := descriptor{MediaType: "application/octet-stream", Digest: digestOf("sha256", []byte("missing")).String(), Size: 7}
	raw := func(extra string) []byte { return append([]byte("{"+extra+","), good[1:]...) }
	for _, k := range []struct {
		name, ref, contentType string
		body                   []byte
		status                 int
		code                   string
	}{
		{"not JSON", "t", typeOCIManifest, []byte("nope"), 400, "MANIFEST_INVALID"},
		{"empty", "t", typeOCIManifest, nil, 400, "MANIFEST_INVALID"},
		{"array", "t", typeOCIManifest, []byte("[]"), 400, "MANIFEST_INVALID"},
		{"trailing", "t", typeOCIManifest, append(slices.Clone(good), '{', '}'), 400, "MANIFEST_INVALID"},
		{"wrong type", "t", typeOCIIndex, good, 400, "MANIFEST_INVALID"},
		{"unknown type", "t", "application/json", with("mediaType", ""), 400, "MANIFEST_INVALID"},
		{"schema 1", "t", typeOCIManifest, with("schemaVersion", 1), 400, "MANIFEST_INVALID"},
		{"image and index", "t", typeOCIManifest, with("manifests", []descriptor{}), 400, "MANIFEST_INVALID"},
		{"index and image", "t", typeOCIIndex, []byte(`{"schemaVersion":2,"mediaType":"` + typeOCIIndex + `","manifests":[],"layers":[]}`), 400, "MANIFEST_INVALID"},
		{"case variant", "t", typeOCIManifest, raw(`"Layers":[]`), 400, "MANIFEST_INVALID"},
		{"duplicate key", "t", typeOCIManifest, raw(`"config":null`), 400, "MANIFEST_INVALID"},
		{"no config", "t", typeOCIManifest, with("config", nil), 400, "MANIFEST_INVALID"},
		{"bad digest inside", "t", typeOCIManifest, with("config", descriptor{Digest: "sha256:../../../etc/passwd"}), 400, "MANIFEST_INVALID"},
		{"negative size", "t", typeOCIManifest, with("config", descriptor{Digest: missing.Digest, Size: -1}), 400, "MANIFEST_INVALID"},
		{"wrong size", "t", typeOCIManifest, with("layers", []descriptor{{Digest: digestOf("sha256", []byte("layer x")).String(), Size: 1}}), 400, "MANIFEST_INVALID"},
		{"missing layer", "t", typeOCIManifest, with("layers", []descriptor{missing}), 404, "MANIFEST_BLOB_UNKNOWN"},
		{"missing member", "t", typeOCIIndex, mustJSON(t, index{2, typeOCIIndex, []descriptor{missing}}), 404, "MANIFEST_BLOB_UNKNOWN"},
		{"digest mismatch", missing.Digest, typeOCIManifest, good, 400, "DIGEST_INVALID"},
		{"bad digest", "sha256:12", typeOCIManifest, good, 400, "DIGEST_INVALID"},
		{"bad tag", ".tag", typeOCIManifest, good, 400, "MANIFEST_INVALID"},
		{"bad second tag", "t?tag=a/b", typeOCIManifest, good, 400, "MANIFEST_INVALID"},
		{"too large", "t", typeOCIManifest, with("annotations", map[string]string{"a": strings.Repeat("a", maxManifest)}), 413, "MANIFEST_INVALID"},
	} {
		a := c.do("PUT", "/v2/conf/app/manifests/"+k.ref, bytes.NewReader(k.body), "Content-Type", k.contentType)
		if a.status != k.status || a.code() != k.code {
			t.Errorf("%s: got %d %s, want %d %s: %.200s", k.name, a.status, a.code(), k.status, k.code, a.body)
		}
	}
	if a := c.want(200, "GET", "/v2/conf/app/tags/list", nil); !strings.Contains(string(a.body), `"tags":[]`) {
		t.Errorf("a refused manifest left a tag: %s", a.body)
	}
	// What another repository has does not count.
	a := c.do("PUT", "/v2/other/app/manifests/t", bytes.NewReader(good), "Content-Type", typeOCIManifest)
	if a.status != 404 || a.code() != "MANIFEST_BLOB_UNKNOWN" {
		t.Errorf("foreign blobs: %d %s", a.status, a.body)
	}
	// As large as is allowed, and what must not be distributed.
	big := with("annotations", map[string]string{"a": strings.Repeat("a", maxManifest-len(good)-40)})
	c.push("conf/app", "big", big)
	c.push("conf/app", "foreign", with("layers", []descriptor{{MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar", Digest: missing.Digest, Size: 5, URLs: []string{"https://example.com/x"}}}))
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	d := digestOf("sha256", nil).String()
	for path, want := range map[string]string{
		"/v2/no/app/manifests/latest": "MANIFEST_UNKNOWN", "/v2/no/app/manifests/" + d: "MANIFEST_UNKNOWN",
		"/v2/no/app/manifests/.hidden": "MANIFEST_UNKNOWN", "/v2/no/app/blobs/" + d: "BLOB_UNKNOWN",
		"/v2/no/app/tags/list": "NAME_UNKNOWN", "/v2/no/app": "UNSUPPORTED", "/v2/tags/list": "NAME_INVALID",
	} {
		if a := c.do("GET", path, nil); a.code() != want {
			t.Errorf("%s: got %d %s, want %s", path, a.status, a.body, want)
		}
	}
	if a := c.do("POST", "/v2/no/app/tags/list", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST tags: %d", a.status)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Auth: allow(func(a Access) bool { return !strings.HasPrefix(a.Repository, "secret/") || a.Verb == VerbPush })})
	for _, repo := range []string{"a/app", "a/app/sub", "b", "secret/x"} {
		c.push(repo, "v1", c.image(repo, "x"))
	}
	for i := range 5 {
		c.push("a/app", fmt.Sprintf("t%d", i), c.image("a/app", "x"))
	}
	// pages follows Link until there is none.
	pages := func(path, key string) (all []string, n int) {
		for path != "" {
			a := c.want(200, "GET", path, nil)
			var body map[string]json.RawMessage
			var names []string
			if err := json.Unmarshal(a.body, &body); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(body[key], &names); err != nil || names == nil {
				t.Fatalf("%s: %s", path, a.body)
			}
			all, n = append(all, names...), n+1
			next, _, _ := strings.Cut(a.header.Get("Link"), ">")
			path = strings.TrimPrefix(next, "<")
		}
		return all, n
	}
	tags := []string{"t0", "t1", "t2", "t3", "t4", "v1"}
	for _, k := range []struct {
		query string
		want  []string
		pages int
	}{
		{"", tags, 1}, {"?n=2", tags, 3}, {"?n=3", tags, 2}, {"?n=100", tags, 1}, {"?last=t3", tags[4:], 1}, {"?last=t33&n=1", tags[4:], 2},
		{"?n=0", nil, 1}, {"?n=999999999999999", tags, 1}, {"?last=zz", nil, 1},
	} {
		if got, n := pages("/v2/a/app/tags/list"+k.query, "tags"); !slices.Equal(got, k.want) || n != k.pages {
			t.Errorf("tags%s: %v in %d pages, want %v in %d", k.query, got, n, k.want, k.pages)
		}
	}
	for _, q := range []string{"?n=2", "", "?n=99999"} {
		if got, _ := pages("/v2/_catalog"+q, "repositories"); !slices.Equal(got, []string{"a/app", "a/app/sub", "b"}) {
			t.Errorf("catalog%s: %v", q, got)
		}
	}
	for _, q := range []string{"n=-1", "n=x", "n=", "n=99999999999999999999999999"} {
		for _, path := range []string{"/v2/_catalog", "/v2/a/app/tags/list"} {
			if a := c.do("GET", path+"?"+q, nil); a.status != 400 || a.code() != "PAGINATION_NUMBER_INVALID" {
				t.Errorf("%s?%s: %d %s", path, q, a.status, a.body)
			}
		}
	}
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	refs := func(subject, query string) (answer, []descriptor) {
		a := c.want(200, "GET", "/v2/conf/app/referrers/"+subject+query, nil)
		var idx index
		if err := json.Unmarshal(a.body, &idx); err != nil || idx.Manifests == nil || idx.MediaType != typeOCIIndex || a.header.Get("Content-Type") != typeOCIIndex {
			t.Fatalf("referrers: %v %s", a.header, a.body)
		}
		return a, idx.Manifests
	}
	subject := c.push("conf/app", "latest", c.image("conf/app", "one"))
	if _, got := refs(subject.Digest, ""); len(got) != 0 {
		t.Errorf("before: %v", got)
	}
	sbom := c.image("conf/app", "sbom", about(subject, "example/sbom"))
	a := c.want(201, "PUT", "/v2/conf/app/manifests/sbom", sbom, "Content-Type", typeOCIManifest)
	if a.header.Get("OCI-Subject") != subject.Digest {
		t.Errorf("OCI-Subject: %v", a.header)
	}
	sig := c.push("conf/app", "sig", c.image("conf/app", "sig", about(subject, "example/sig")))
	missing := descriptor{MediaType: typeOCIManifest, Digest: digestOf("sha256", []byte("nowhere")).String(), Size: 1}
	plain := c.push("conf/app", "plain", c.image("conf/app", "plain", about(missing, "")))
	if _, got := refs(subject.Digest, ""); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	a, got := refs(subject.Digest, "?artifactType=example/sig")
	if len(got) != 1 || got[0].Digest != sig.Digest || got[0].Size != sig.Size || got[0].Annotations["about"] == "" || a.header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Errorf("filtered: %v %v", got, a.header)
	}
	if _, got := refs(missing.Digest, ""); len(got) != 1 || got[0].Digest != plain.Digest || got[0].ArtifactType != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("missing subject: %v", got)
	}
	c.want(202, "DELETE", "/v2/conf/app/manifests/"+sig.Digest, nil)
	if _, got := refs(subject.Digest, ""); len(got) != 1 {
		t.Errorf("after a delete: %v", got)
	}
	if a := c.do("GET", "/v2/conf/app/referrers/latest", nil); a.status != 400 || a.code() != "DIGEST_INVALID" {
		t.Errorf("by tag: %d %s", a.status, a.body)
	}
}
