package gitserver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test program stand for the executable that a hook calls.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "post-receive" && os.Args[2] == "--dir" {
		if err := PostReceive(context.Background(), os.Stdin, PostReceiveOptions{Dir: os.Args[3], Out: os.Stdout}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

type delivery struct {
	event, signature, id string
	body                 []byte
}

func receiver(t *testing.T) (string, <-chan delivery) {
	t.Helper()
	got := make(chan delivery, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		got <- delivery{req.Header.Get("X-GitHub-Event"), req.Header.Get("X-Hub-Signature-256"), req.Header.Get("X-GitHub-Delivery"), body}
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func next(t *testing.T, got <-chan delivery) (delivery, push) {
	t.Helper()
	select {
	case d := <-got:
		var p push
		if err := json.Unmarshal(d.body, &p); err != nil {
			t.Fatal(err)
		}
		return d, p
	case <-time.After(30 * time.Second):
		t.Fatal("no webhook was called")
		panic("unreachable")
	}
}

func TestPushCallsTheWebhooks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	handler, err := New(Options{Root: root, Prefix: "/git"})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	url := s.URL + "/git/shop.git"
	signed, got := receiver(t)
	plain, gotPlain := receiver(t)
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := Repository{Root: root, Name: "shop", CloneURL: url, Executable: self, Hooks: []Hook{{URL: signed, SecretFile: secretFile}, {URL: plain}}}
	dir, err := Init(r)
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "work")
	git(t, "", "clone", "--quiet", url, work)
	git(t, work, "symbolic-ref", "HEAD", "refs/heads/main")
	git(t, work, "commit", "--quiet", "--allow-empty", "-m", "first\n\nbody")
	out := git(t, work, "push", "origin", "main")
	if !strings.Contains(out, "webhook "+signed) {
		t.Errorf("the push does not say what was called:\n%s", out)
	}
	first := git(t, work, "rev-parse", "HEAD")
	d, p := next(t, got)
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write(d.body)
	if d.event != "push" || d.signature != "sha256="+hex.EncodeToString(mac.Sum(nil)) || d.id == "" {
		t.Errorf("delivery %+v", d)
	}
	if p.Ref != "refs/heads/main" || p.After != first || !p.Created || p.Repository.CloneURL != url || p.Repository.DefaultBranch != "main" ||
		p.HeadCommit == nil || p.HeadCommit.ID != first || p.HeadCommit.Message != "first\n\nbody" || p.HeadCommit.Author.Name != "Ada" {
		t.Errorf("payload %s", d.body)
	}
	if d, _ := next(t, gotPlain); d.signature != "" {
		t.Error("signed without a secret")
	}

	for _, m := range []string{"second", "third"} {
		git(t, work, "commit", "--quiet", "--allow-empty", "-m", m)
	}
	git(t, work, "push", "--quiet", "origin", "main")
	if _, p := next(t, got); len(p.Commits) != 2 || p.Commits[0].Message != "second" || p.Commits[1].Message != "third" || p.Before != first || p.Forced || p.Created {
		t.Errorf("payload %+v", p)
	}
	git(t, work, "tag", "-a", "v1.0", "-m", "one", first)
	git(t, work, "push", "--quiet", "origin", "v1.0")
	if _, p := next(t, got); p.Ref != "refs/tags/v1.0" || p.HeadCommit == nil || p.HeadCommit.ID != first {
		t.Errorf("payload %+v", p)
	}
	git(t, work, "reset", "--quiet", "--hard", first)
	git(t, work, "commit", "--quiet", "--allow-empty", "-m", "rewritten")
	git(t, work, "push", "--quiet", "--force", "origin", "main")
	if _, p := next(t, got); !p.Forced {
		t.Errorf("payload %+v", p)
	}
	git(t, work, "push", "--quiet", "origin", ":refs/tags/v1.0")
	if _, p := next(t, got); !p.Deleted || p.HeadCommit != nil {
		t.Errorf("payload %+v", p)
	}
	// Made again, it keeps what it holds.
	if _, err := Init(r); err != nil {
		t.Fatal(err)
	}
	if git(t, dir, "rev-parse", "main") != git(t, work, "rev-parse", "HEAD") {
		t.Error("Init lost a commit")
	}
}

func TestLargePushIsTaken(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	handler, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	if _, err := Init(Repository{Root: root, Name: "big"}); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "work")
	git(t, "", "clone", "--quiet", s.URL+"/big.git", work)
	// Noise does not compress: git sends it in chunks, without a length.
	noise := make([]byte, 3<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	if err := os.WriteFile(filepath.Join(work, "noise"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, work, "add", "-A")
	git(t, work, "commit", "--quiet", "-m", "noise")
	git(t, work, "push", "--quiet", "origin", "HEAD:main")
	again := filepath.Join(t.TempDir(), "again")
	git(t, "", "clone", "--quiet", s.URL+"/big.git", again)
	if read, err := os.ReadFile(filepath.Join(again, "noise")); err != nil || !bytes.Equal(read, noise) {
		t.Errorf("what was pushed is not what is cloned: %v", err)
	}
}

func TestUsersAndPaths(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	handler, err := New(Options{Root: filepath.Join(root, "git"), Users: map[string]string{"ada": "s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	for dir, name := range map[string]string{filepath.Join(root, "git"): "shop", root: "outside"} {
		if _, err := Init(Repository{Root: dir, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	url := strings.Replace(s.URL, "http://", "http://ada:s3cret@", 1)
	if _, err := tryGit("", "ls-remote", url+"/shop.git"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{s.URL + "/shop.git", strings.Replace(url, "s3cret", "wrong", 1) + "/shop.git", strings.Replace(url, "ada", "eve", 1) + "/shop.git", url + "/../outside.git", url + "/%2e%2e/outside.git", url + "/..%2foutside.git"} {
		if out, err := tryGit("", "ls-remote", bad); err == nil {
			t.Errorf("%s answers %q", bad, out)
		}
	}
	for _, name := range []string{"", "..", "../x", "a/b", "-x", ".x", "x.git", strings.Repeat("x", 101)} {
		if _, err := Init(Repository{Root: root, Name: name}); err == nil {
			t.Errorf("repository %q was made", name)
		}
	}
}

func TestFailingHookSaysSoWithoutItsSecret(t *testing.T) {
	t.Parallel()
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Error(w, "go away", http.StatusUnauthorized)
	}))
	t.Cleanup(refuse.Close)
	dir, err := Init(Repository{Root: t.TempDir(), Name: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	hooks := []Hook{
		{URL: refuse.URL + "/apis/build.openshift.io/v1/namespaces/n/buildconfigs/b/webhooks/t0psecret/github"},
		{URL: "http://127.0.0.1:1/apis/build.openshift.io/v1/namespaces/n/buildconfigs/b/webhooks/t0psecret/github"},
	}
	zero := strings.Repeat("0", 40)
	var out bytes.Buffer
	err = PostReceive(context.Background(), strings.NewReader(zero+" "+zero+" refs/heads/main\n"), PostReceiveOptions{Dir: dir, Hooks: hooks, Out: &out})
	if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error = %v", err)
	}
	if strings.Contains(out.String()+err.Error(), "t0psecret") {
		t.Errorf("the secret is shown: %s %v", out.String(), err)
	}
	for _, bad := range []string{"x", "a b c", zero + " " + zero + " main", zero} {
		if err := PostReceive(context.Background(), strings.NewReader(bad+"\n"), PostReceiveOptions{Dir: dir}); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
