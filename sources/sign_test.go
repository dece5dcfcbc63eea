package sources

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

// allowSigner makes git in dir trust one key for slipway@localhost.
func allowSigner(t *testing.T, dir string, key ssh.PublicKey) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(file, []byte("slipway@localhost "+string(ssh.MarshalAuthorizedKey(key))), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "config", "gpg.ssh.allowedSignersFile", file)
}

func TestCommitsAndTagsAreSigned(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	mine, key := newKey(t)
	allowSigner(t, h.bare, mine.PublicKey())
	r := run(t, statetest.New(t), t.TempDir())
	r.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: shop.Namespace, Name: "git"}, Data: map[string][]byte{"signingKey": key}})
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.SecretRef = &corev1.LocalObjectReference{Name: "git"} }))
	r.untilCommit(first)
	commit, err := r.Commit(testContext(t), api.CommitRequest{Repository: shop, Message: "promote", Trailers: []api.Trailer{{Key: "From", Value: "x"}},
		Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{"f": []byte("2")}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	git(t, h.bare, "fsck", "--strict")
	git(t, h.bare, "verify-commit", commit)
	if got := git(t, h.bare, "log", "-1", "--format=%G?|%GS", commit); got != "G|slipway@localhost" {
		t.Errorf("signature %q", got)
	}
	tag := api.TagRequest{Repository: shop, Name: "v1.0.0", Commit: commit, Message: "one", Trailers: []api.Trailer{{Key: "Slipway-From", Value: "main"}}}
	for range 2 { // the second finds it
		if err := r.Tag(testContext(t), tag); err != nil {
			t.Fatal(err)
		}
	}
	git(t, h.bare, "verify-tag", "v1.0.0")
	if got := git(t, h.bare, "rev-parse", "v1.0.0^{commit}"); got != commit {
		t.Errorf("the tag names %s", got)
	}
	tag.Commit = first
	if err := r.Tag(testContext(t), tag); !errors.Is(err, ErrPush) {
		t.Errorf("a tag was moved: %v", err)
	}
	for _, bad := range []api.TagRequest{{Name: "--x", Commit: first}, {Name: "a..b", Commit: first}, {Name: "v2", Commit: "main"}, {Name: "v2", Commit: strings.Repeat("1", 40)}} {
		bad.Repository = shop
		if err := r.Tag(testContext(t), bad); err == nil {
			t.Errorf("%+v was made", bad)
		}
	}
}

func TestSigningKeyOfTheServerAndBrokenKeys(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	server, _ := newKey(t)
	other, otherKey := newKey(t)
	m := newTestMirrors(t, t.TempDir(), Options{SigningKey: server, Committer: api.Identity{Name: "Robot", Email: "robot@example.org"}})
	r, l := openTest(t, m, h.url)
	write := func(c Credentials, content string) (string, error) {
		commit, _, err := r.Commit(testContext(t), l, c, "main", time.Now, changing("f", content))
		return commit, err
	}
	commit, err := write(Credentials{}, "2")
	if err != nil {
		t.Fatal(err)
	}
	allowSigner(t, h.bare, server.PublicKey())
	git(t, h.bare, "verify-commit", commit)
	if got := git(t, h.bare, "log", "-1", "--format=%cn <%ce> %an", commit); got != "Robot <robot@example.org> Robot" {
		t.Errorf("committer %q", got)
	}
	// The repository's own key goes before the server's.
	commit, err = write(CredentialsFrom(&corev1.Secret{Data: map[string][]byte{"signingKey": otherKey}}), "3")
	if err != nil {
		t.Fatal(err)
	}
	allowSigner(t, h.bare, other.PublicKey())
	git(t, h.bare, "verify-commit", commit)
	// A key that cannot be read is not replaced by another, nor left out.
	if commit, err := write(CredentialsFrom(&corev1.Secret{Data: map[string][]byte{"signingKey": []byte("x")}}), "4"); !errors.Is(err, ErrCredentials) {
		t.Errorf("a broken key made %s, %v", commit, err)
	}
	if git(t, h.bare, "rev-parse", "main") != commit {
		t.Error("main moved")
	}
}

func request(id, content string) api.CommitRequest {
	req := changing("f", content)
	req.ID = id
	return req
}

func TestARequestIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("first", map[string]string{"f": "1"})
	m := newTestMirrors(t, t.TempDir(), Options{})
	r, l := openTest(t, m, h.url)
	first, made, err := r.Commit(testContext(t), l, Credentials{}, "main", time.Now, request("promotion/1", "2"))
	if err != nil || !made {
		t.Fatal(made, err)
	}
	if got := git(t, h.bare, "log", "-1", "--format=%(trailers:key=Slipway-Request,valueonly)", first); strings.TrimSpace(got) != "promotion/1" {
		t.Errorf("trailer %q", got)
	}
	// Somebody undoes it: that is not for the repeated request to overrule.
	git(t, h.work, "pull", "--quiet", "origin", "main")
	undone := h.push("undo", map[string]string{"f": "1"})
	again := newTestMirrors(t, t.TempDir(), Options{})
	r2, _ := openTest(t, again, h.url)
	if got, made, err := r2.Commit(testContext(t), l, Credentials{}, "main", time.Now, request("promotion/1", "2")); err != nil || made || got != first {
		t.Errorf("again: %s, %v, %v", got, made, err)
	}
	if git(t, h.bare, "rev-parse", "main") != undone {
		t.Error("main moved")
	}
	// Another request is another commit; one whose id only begins alike, too.
	for i, id := range []string{"promotion/2", "promotion"} {
		if _, made, err := r2.Commit(testContext(t), l, Credentials{}, "main", time.Now, request(id, string(rune('a'+i)))); err != nil || !made {
			t.Errorf("%s: %v, %v", id, made, err)
		}
	}
	if _, _, err := r2.Commit(testContext(t), l, Credentials{}, "main", time.Now, request("a\nb", "x")); err == nil {
		t.Error("an id of two lines")
	}
}

// dying is a connection to a server that ends, with the process behind it, around a push.
type dying struct {
	http.RoundTripper
	kill func()
	// before the push arrives, or after.
	before bool
	pushed atomic.Bool
}

func (d *dying) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
		return d.RoundTripper.RoundTrip(req)
	}
	d.pushed.Store(true)
	if d.before {
		d.kill()
		return nil, context.Canceled
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	alive := req.Clone(context.WithoutCancel(req.Context()))
	alive.Body = io.NopCloser(bytes.NewReader(body))
	res, err := d.RoundTripper.RoundTrip(alive)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	d.kill()
	return nil, context.Canceled
}

// TestACrashAroundThePushMakesOneCommit ends the first attempt before or after the
// push arrived, and repeats the request with the mirror that it left and with a new one.
func TestACrashAroundThePushMakesOneCommit(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		for _, keeps := range []bool{true, false} {
			h := newHost(t, gitserver.Options{})
			first := h.push("first", map[string]string{"f": "1", "other": "1"})
			ctx, kill := context.WithCancel(testContext(t))
			d := &dying{RoundTripper: newHTTPTransport(nil), kill: kill, before: before}
			dir := t.TempDir()
			m := newTestMirrors(t, dir, Options{RoundTripper: d})
			r, l := openTest(t, m, h.url)
			if commit, _, err := r.Commit(ctx, l, Credentials{}, "main", time.Now, request("id", "2")); err == nil || !d.pushed.Load() {
				t.Fatalf("a dying process answers %s", commit)
			}
			if !keeps {
				dir = t.TempDir()
			}
			r2, _ := openTest(t, newTestMirrors(t, dir, Options{}), h.url)
			commit, made, err := r2.Commit(testContext(t), l, Credentials{}, "main", time.Now, request("id", "2"))
			if err != nil || made != before {
				t.Errorf("before=%v keeps=%v: made %v, %v", before, keeps, made, err)
			}
			if got := git(t, h.bare, "rev-list", first+"..main"); got != commit {
				t.Errorf("before=%v keeps=%v: commits %q, want one, %s", before, keeps, got, commit)
			}
			if got := git(t, h.bare, "show", "main:other"); got != "1" {
				t.Errorf("other = %q", got)
			}
		}
	}
}
