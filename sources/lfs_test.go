package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

// pointerTo is what git holds of a content.
func pointerTo(content string) string {
	sum := sha256.Sum256([]byte(content))
	return fmt.Sprintf("%soid sha256:%s\nsize %d\n", pointer, hex.EncodeToString(sum[:]), len(content))
}

// lfsHost serves LFS beside a repository, as git lfs' docs/api/batch.md has it.
type lfsHost struct {
	*gitHost
	contents map[string]string // by digest
	// batches and downloads were served.
	batches, downloads atomic.Int32
	// answer changes what is said of a content; elsewhere answers at another port.
	answer    func(o map[string]any)
	elsewhere *httptest.Server
	// seen are the credentials that came elsewhere.
	seen atomic.Value
}

func newLFSHost(t *testing.T, contents ...string) *lfsHost {
	h := &lfsHost{gitHost: newHost(t, gitserver.Options{}), contents: map[string]string{}, answer: func(map[string]any) {}}
	for _, c := range contents {
		p, _ := parsePointer([]byte(pointerTo(c)))
		h.contents[p.OID] = c
	}
	git, err := gitserver.New(gitserver.Options{Root: h.root})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", git)
	mux.HandleFunc("POST /shop.git/info/lfs/objects/batch", h.batch)
	mux.HandleFunc("GET /store/{oid}", h.download)
	h.serve(mux)
	h.elsewhere = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen.Store(r.Header.Get("Authorization"))
		r.SetPathValue("oid", strings.TrimPrefix(r.URL.Path, "/store/"))
		h.download(w, r)
	}))
	t.Cleanup(h.elsewhere.Close)
	return h
}

func (h *lfsHost) batch(w http.ResponseWriter, r *http.Request) {
	h.batches.Add(1)
	var q struct {
		Operation string
		Objects   []lfsPointer
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Operation != "download" || r.Header.Get("Accept") != "application/vnd.git-lfs+json" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	var objects []map[string]any
	for _, p := range q.Objects {
		o := map[string]any{"oid": p.OID, "size": p.Size, "actions": map[string]any{"download": map[string]any{"href": h.server.URL + "/store/" + p.OID}}}
		if _, ok := h.contents[p.OID]; !ok {
			o = map[string]any{"oid": p.OID, "size": p.Size, "error": map[string]any{"code": 404, "message": "no such object"}}
		}
		h.answer(o)
		objects = append(objects, o)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"objects": objects})
}

func (h *lfsHost) download(w http.ResponseWriter, r *http.Request) {
	h.downloads.Add(1)
	_, _ = w.Write([]byte(h.contents[r.PathValue("oid")]))
}

func (h *lfsHost) onlyItself(at netip.AddrPort) bool {
	return strings.HasSuffix(h.server.URL, fmt.Sprint(":", at.Port()))
}

// untilNotReady waits for a condition that says why.
func (r *running) untilNotReady(why string) {
	r.t.Helper()
	r.until("why: "+why, func(_ *v1alpha1.GitRepository, ready metav1.Condition) bool {
		return ready.Status == metav1.ConditionFalse && strings.Contains(ready.Message, why)
	})
}

func withLFS(r *v1alpha1.GitRepository) *v1alpha1.GitRepository {
	r.Spec.LFS = true
	return r
}

func TestContentInLFSIsReadWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("replicas: 3\n", 1000)
	h := newLFSHost(t, big)
	h.push("first", map[string]string{"apps/big.yaml": pointerTo(big), "apps/again.yaml": pointerTo(big), "apps/a.yaml": "a"})
	c, dir := statetest.New(t), t.TempDir()
	r := run(t, c, dir)
	r.create(withLFS(shopRepository(h.url, nil)))
	r.untilCommit(git(t, h.work, "rev-parse", "HEAD"))
	rev, err := r.Revision(testContext(t), shop)
	if err != nil || readTest(t, rev.Tree, "apps/big.yaml") != big || readTest(t, rev.Tree, "apps/again.yaml") != big || readTest(t, rev.Tree, "apps/a.yaml") != "a" {
		t.Fatal(err)
	}
	if h.downloads.Load() != 1 {
		t.Errorf("one content was fetched %d times", h.downloads.Load())
	}
	// Another commit brings only what is new; what is here is read without the server.
	next := h.push("second", map[string]string{"apps/a.yaml": "b"})
	r.Refresh(shop)
	r.untilCommit(next)
	h.server.Close()
	if rev, err = r.Revision(testContext(t), shop); err != nil || readTest(t, rev.Tree, "apps/big.yaml") != big || h.batches.Load() != 1 {
		t.Errorf("%v after %d batches", err, h.batches.Load())
	}
}

// What cannot be had of LFS keeps the last good revision live, and is said.
func TestLFSThatFailsKeepsTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	good := "good: 1\n"
	h := newLFSHost(t, good)
	first := h.push("first", map[string]string{"a.yaml": pointerTo(good)})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(withLFS(shopRepository(h.url, nil)))
	r.untilCommit(first)
	h.push("second", map[string]string{"a.yaml": pointerTo("nobody has this")})
	r.Refresh(shop)
	r.untilNotReady("content in git LFS (a.yaml): the server says of")
	rev, err := r.Revision(testContext(t), shop)
	if err != nil || rev.Commit != first || readTest(t, rev.Tree, "a.yaml") != good {
		t.Errorf("%s, %v", rev.Commit, err)
	}
}

func TestWhatAnLFSServerMayNot(t *testing.T) {
	t.Parallel()
	content := "content: 1\n"
	download := func(href string) map[string]any {
		return map[string]any{"download": map[string]any{"href": href}}
	}
	for name, c := range map[string]struct {
		answer func(h *lfsHost, o map[string]any)
		want   string
	}{
		"something else":     {func(h *lfsHost, o map[string]any) { h.contents[o["oid"].(string)] = "content: 2\n" }, "something else"},
		"more than it said":  {func(h *lfsHost, o map[string]any) { h.contents[o["oid"].(string)] += strings.Repeat("x", 1<<16) }, "more than is allowed"},
		"nothing of it":      {func(_ *lfsHost, o map[string]any) { o["oid"] = strings.Repeat("0", 64) }, "says nothing of"},
		"no place":           {func(_ *lfsHost, o map[string]any) { delete(o, "actions") }, "does not say where"},
		"a file":             {func(_ *lfsHost, o map[string]any) { o["actions"] = download("file:///etc/passwd") }, "not taken"},
		"credentials of its": {func(_ *lfsHost, o map[string]any) { o["actions"] = download("http://a:b@127.0.0.1/x") }, "not taken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newLFSHost(t, content)
			h.answer = func(o map[string]any) { c.answer(h, o) }
			h.push("first", map[string]string{"a.yaml": pointerTo(content)})
			r := run(t, statetest.New(t), t.TempDir())
			r.create(withLFS(shopRepository(h.url, nil)))
			r.untilNotReady(c.want)
		})
	}
}

func TestCredentialsForLFSStayWithTheirHost(t *testing.T) {
	t.Parallel()
	content := "content: 1\n"
	h := newLFSHost(t, content)
	h.answer = func(o map[string]any) {
		o["actions"] = map[string]any{"download": map[string]any{"href": h.elsewhere.URL + "/store/" + o["oid"].(string)}}
	}
	l, err := ParseURL(h.url)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := parsePointer([]byte(pointerTo(content)))
	client, err := newLFSClient(newTestMirrors(t, t.TempDir(), Options{}), l, Credentials{username: "ada", password: "canary"})
	if err != nil {
		t.Fatal(err)
	}
	store := &lfsStore{dir: t.TempDir()}
	if err := client.fetch(t.Context(), []lfsPointer{p}, store); err != nil {
		t.Fatal(err)
	}
	if got, err := store.read(p); err != nil || string(got) != content || h.seen.Load() != "" {
		t.Errorf("%q, %v; elsewhere came %q", got, err, h.seen.Load())
	}
	// A tenant's server leads nowhere that its repository could not be.
	guarded := newTestMirrors(t, t.TempDir(), Options{Reachable: h.onlyItself})
	if client, err = newLFSClient(guarded, l, Credentials{}); err != nil {
		t.Fatal(err)
	}
	if err := client.fetch(t.Context(), []lfsPointer{p}, &lfsStore{dir: t.TempDir()}); !errors.Is(err, ErrAddress) {
		t.Errorf("a tenant is led to this host: %v", err)
	}
}

func TestLFSStore(t *testing.T) {
	t.Parallel()
	s := &lfsStore{dir: t.TempDir()}
	p, _ := parsePointer([]byte(pointerTo("content")))
	if err := os.WriteFile(s.file(p), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(p); err == nil {
		t.Error("damage is not noticed")
	}
	now := time.Now()
	if missing, err := s.missing(map[lfsPointer]string{p: "a"}, now); err != nil || len(missing) != 1 {
		t.Errorf("damaged content is missing %v, %v", missing, err)
	}
	if _, err := s.missing(map[lfsPointer]string{{OID: p.OID, Size: maxLFSFile + 1}: "a"}, now); err == nil {
		t.Error("a file of any size is fetched")
	}
	if err := os.WriteFile(s.file(p), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(p); err != nil {
		t.Error(err)
	}
	if err := s.sweep(now.Add(keepLFS + time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nobody uses is kept: %v", err)
	}
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte(pointerTo("content")))
	f.Add([]byte(string(pointer) + "oid sha256:../../x\nsize -1\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, ok := parsePointer(content)
		if ok && (len(p.OID) != 64 || strings.ContainsAny(p.OID, "/.") || p.Size < 0) {
			t.Errorf("%q is taken for %+v", content, p)
		}
	})
}
