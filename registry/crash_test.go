package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var errCrash = errors.New("crash")

// crashDisk dies at its n-th change, before or after carrying it out; from then on
// nothing changes any more, as when the process is gone.
type crashDisk struct {
	osDisk
	mu    sync.Mutex
	left  int
	after bool
	dead  bool
}

func (c *crashDisk) step(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrash
	}
	c.left--
	if c.left > 0 {
		return do()
	}
	c.dead = true
	if c.after {
		return errors.Join(do(), errCrash)
	}
	return errCrash
}

func (c *crashDisk) Write(path string, b []byte) error {
	return c.step(func() error { return c.osDisk.Write(path, b) })
}
func (c *crashDisk) Sync(path string) error {
	return c.step(func() error { return c.osDisk.Sync(path) })
}
func (c *crashDisk) Rename(from, to string) error {
	return c.step(func() error { return c.osDisk.Rename(from, to) })
}
func (c *crashDisk) Remove(path string) error {
	return c.step(func() error { return c.osDisk.Remove(path) })
}

// attempt pushes an image with a subject; it reports whether every step succeeded.
func attempt(t *testing.T, r *Registry, subject descriptor) bool {
	t.Helper()
	user, pass := r.BuilderAuth()
	send := func(method, path string, body []byte, ct string) (int, http.Header) {
		req, w := newRequest(method, path, body)
		req.SetBasicAuth(user, pass)
		req.Header.Set("Content-Type", ct)
		r.Handler().ServeHTTP(w, req)
		return w.Code, w.Header()
	}
	blob := func(b []byte) (descriptor, bool) {
		d := digestOf("sha256", b).String()
		code, h := send("POST", "/v2/p/s/blobs/uploads/", nil, "")
		if code != 202 {
			return descriptor{}, false
		}
		loc := h.Get("Location")
		if code, _ = send("PATCH", loc, b, ""); code != 202 {
			return descriptor{}, false
		}
		code, _ = send("PUT", loc+"?digest="+d, nil, "")
		return descriptor{Digest: d, Size: int64(len(b))}, code == 201
	}
	config, ok1 := blob([]byte(`{"a":1}`))
	layer, ok2 := blob([]byte("layer"))
	if !ok1 || !ok2 {
		return false
	}
	m := mustJSON(t, map[string]any{"schemaVersion": 2, "mediaType": typeOCIManifest, "config": config, "layers": []descriptor{layer}, "subject": subject})
	code, _ := send("PUT", "/v2/p/s/manifests/latest", m, typeOCIManifest)
	return code == 201
}

// TestCrashes ends the process before and after every durable step of a push, starts
// again, and looks at what is there: all that is listed is whole, and the push can be
// repeated.
func TestCrashes(t *testing.T) {
	t.Parallel()
	subject := descriptor{MediaType: typeOCIManifest, Digest: digestOf("sha256", []byte("s")).String(), Size: 1}
	for n := 1; ; n++ {
		done := false
		for _, after := range []bool{false, true} {
			name := fmt.Sprintf("step %d, after %v", n, after)
			dir := t.TempDir()
			disk := &crashDisk{left: 1 << 30, after: after}
			r, err := New(Options{Dir: dir, Log: quiet(), disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			disk.mu.Lock()
			disk.left = n
			disk.mu.Unlock()
			acknowledged := attempt(t, r, subject)
			done = !disk.dead
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := New(Options{Dir: dir, Log: quiet()})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			left, err := os.ReadDir(filepath.Join(dir, "tmp"))
			if err != nil || len(left) != 0 {
				t.Errorf("%s: tmp holds %v (%v)", name, left, err)
			}
			whole(t, name, again, subject, acknowledged)
			if !attempt(t, again, subject) {
				t.Errorf("%s: the push cannot be repeated", name)
			}
			whole(t, name+", repeated", again, subject, true)
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if done {
			if n < 10 {
				t.Fatalf("only %d steps were tried", n)
			}
			return
		}
	}
}

// whole checks that each tag and each referrer leads to content that is all there.
func whole(t *testing.T, name string, r *Registry, subject descriptor, mustHave bool) {
	t.Helper()
	tags, err := r.store.tags("p/s")
	if err != nil && !errors.Is(err, errNameUnknown) {
		t.Fatalf("%s: %v", name, err)
	}
	if mustHave && len(tags) != 1 {
		t.Errorf("%s: an acknowledged push is lost", name)
	}
	for _, tag := range tags {
		if _, err := r.push("p/s", tag); err != nil {
			t.Errorf("%s: tag %s: %v", name, tag, err)
		}
	}
	d, err := parseDigest(subject.Digest)
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := r.store.referrers("p/s", d, "", "")
	if err != nil || mustHave && len(found) != 1 {
		t.Errorf("%s: referrers %v, %v", name, found, err)
	}
	for _, f := range found {
		d, err := parseDigest(f.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.readManifest("p/s", d); err != nil {
			t.Errorf("%s: referrer %s: %v", name, d, err)
		}
	}
}

func TestUploadSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, Options{Dir: dir})
	loc := c.want(202, "POST", "/v2/p/s/blobs/uploads/", nil).header.Get("Location")
	c.want(202, "PATCH", loc, []byte("first "))
	if err := c.reg.Close(); err != nil {
		t.Fatal(err)
	}
	c = start(t, Options{Dir: dir})
	c.want(202, "PATCH", loc, []byte("second"), "Content-Range", "6-11")
	c.want(201, "PUT", loc+"?digest="+digestOf("sha256", []byte("first second")).String(), nil)
}

// TestDamage changes content behind the registry's back: it is never handed out whole,
// and pushing it again mends it.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 1 << 20} {
		dir := t.TempDir()
		c := start(t, Options{Dir: dir})
		content := bytes.Repeat([]byte("x"), size)
		d := c.blob("p/s", content).Digest
		m := c.image("p/s", "x")
		md := c.push("p/s", "latest", m).Digest
		if err := c.reg.Close(); err != nil {
			t.Fatal(err)
		}
		c = start(t, Options{Dir: dir})
		for _, path := range []string{c.reg.store.blobPath(digest{"sha256", d[7:]}), c.reg.store.manifestPath("p/s", digest{"sha256", md[7:]})} {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("y"), int64(size/2)); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.Get(c.url + "/v2/p/s/blobs/" + d)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 && err == nil {
			t.Errorf("%d bytes: damaged content was handed out", size)
		}
		c.want(500, "GET", "/v2/p/s/manifests/"+md, nil)
		c.want(404, "HEAD", "/v2/p/s/blobs/"+d, nil)
		c.blob("p/s", content)
		c.push("p/s", "latest", m)
		c.want(200, "GET", "/v2/p/s/manifests/latest", nil)
		if a := c.want(200, "GET", "/v2/p/s/blobs/"+d, nil); !bytes.Equal(a.body, content) {
			t.Error("not mended")
		}
	}
}

// age makes everything in the store look as if it was written d ago.
func age(t *testing.T, c *client, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	err := filepath.WalkDir(c.reg.store.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestConcurrentPushes pushes old, unreferenced images again, as clients do that skip
// what the registry says it has, while they are being swept.
func TestConcurrentPushes(t *testing.T) {
	t.Parallel()
	sink := &sinkRecorder{}
	c := start(t, Options{Sink: sink})
	manifests := make([][]byte, 16)
	repo := func(i int) string { return fmt.Sprintf("p/s%d", i%3) }
	for i := range manifests {
		manifests[i] = c.image(repo(i), fmt.Sprint(i))
	}
	age(t, c, 2*time.Hour)
	stop := make(chan struct{})
	var wg, sweeps sync.WaitGroup
	sweeps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.reg.Prune(context.Background(), func(string, string) bool { return false }); err != nil {
				t.Errorf("prune: %v", err)
				return
			}
		}
	})
	for i := range manifests {
		wg.Go(func() {
			m := must(parseManifest("", manifests[i]))
			for k, content := range []string{fmt.Sprintf(`{"config":{"Labels":{"text":"%d"}}}`, i), fmt.Sprintf("layer %d", i)} {
				if c.do("HEAD", "/v2/"+repo(i)+"/blobs/"+m.blobs[k].digest.String(), nil).status != 200 {
					c.blob(repo(i), []byte(content))
				}
			}
			if a := c.do("PUT", "/v2/"+repo(i)+"/manifests/latest", bytes.NewReader(manifests[i]), "Content-Type", typeOCIManifest); a.status != 201 {
				t.Errorf("push %d: %d %s", i, a.status, a.body)
			}
		})
	}
	wg.Wait()
	close(stop)
	sweeps.Wait()
	last := map[string]string{}
	for _, p := range sink.pushes {
		last[p.Repository] = p.Digest
	}
	if len(sink.pushes) != len(manifests) {
		t.Errorf("the sink heard of %d pushes", len(sink.pushes))
	}
	for repo, want := range last {
		p, err := c.reg.push(repo, "latest")
		if err != nil || p.Digest != want {
			t.Errorf("%s: tag names %s (%v), the sink was last told %s", repo, p.Digest, err, want)
		}
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	old := c.push("p/s", "latest", c.image("p/s", "old"))
	kept := c.push("p/s", "latest", c.image("p/s", "kept"))
	c.push("p/s", "latest", c.image("p/s", "new"))
	sig := c.push("p/s", digestOf("sha256", nil).hex[:5], c.image("p/s", "sig", about(kept, "sig")))
	c.want(202, "DELETE", "/v2/p/s/manifests/"+digestOf("sha256", nil).hex[:5], nil)
	orphan := c.blob("p/s", []byte("orphan")).Digest
	loc := c.want(202, "POST", "/v2/p/s/blobs/uploads/", nil).header.Get("Location")
	keep := func(repo, d string) bool { return d == kept.Digest }
	prune := func(keep func(string, string) bool) Pruned {
		p, err := c.reg.Prune(context.Background(), keep)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := prune(keep); p != (Pruned{}) {
		t.Errorf("too early: %+v", p)
	}
	age(t, c, 2*time.Hour)
	if p := prune(nil); p.Manifests != 0 || p.Links != 1 || p.Blobs != 1 || p.Uploads != 1 {
		t.Errorf("without keep: %+v", p)
	}
	c.want(404, "HEAD", "/v2/p/s/blobs/"+orphan, nil)
	c.want(404, "GET", loc, nil)
	if p := prune(keep); p.Manifests != 1 || p.Links != 2 || p.Blobs != 2 || p.Bytes == 0 {
		t.Errorf("with keep: %+v", p)
	}
	c.want(404, "GET", "/v2/p/s/manifests/"+old.Digest, nil)
	for _, ref := range []string{kept.Digest, sig.Digest, "latest"} {
		if _, err := c.reg.store.readManifest("p/s", must(c.reg.resolve(target{repo: "p/s", ref: ref}))); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	// Telling a client that a blob exists keeps it for a while.
	text := c.blob("p/s", []byte("asked for")).Digest
	age(t, c, 2*time.Hour)
	c.want(200, "HEAD", "/v2/p/s/blobs/"+text, nil)
	prune(keep)
	c.want(200, "HEAD", "/v2/p/s/blobs/"+text, nil)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestStoreHoldsNoMoreThanItsName(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	c.push("p/s", "latest", c.image("p/s", "x"))
	err := filepath.WalkDir(c.reg.store.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && path != c.reg.store.dir {
			t.Errorf("%s is open to others: %v", strings.TrimPrefix(path, c.reg.store.dir), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
