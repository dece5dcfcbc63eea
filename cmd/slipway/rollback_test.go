package main

import (
	"errors"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
	"slipway.dev/slipway/sources/gitserver"
)

// past is a repository with a history, at a git server, and somebody who pushes to it.
type past struct {
	*testing.T
	url, work string
}

func newPast(t *testing.T) *past {
	t.Helper()
	root := t.TempDir()
	handler, err := gitserver.New(gitserver.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	p := &past{T: t, url: server.URL + "/config.git", work: t.TempDir()}
	if _, err := gitserver.Init(gitserver.Repository{Root: root, Name: "config", CloneURL: p.url}); err != nil {
		t.Fatal(err)
	}
	p.git("init", "-q", "-b", "main")
	p.git("remote", "add", "origin", p.url)
	return p
}

func (p *past) git(args ...string) string {
	p.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = p.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Bo", "GIT_AUTHOR_EMAIL=bo@example.com", "GIT_COMMITTER_NAME=Bo", "GIT_COMMITTER_EMAIL=bo@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push makes the files everything that there is.
func (p *past) push(message string, files map[string]string) string {
	p.Helper()
	p.git("rm", "-r", "-q", "--ignore-unmatch", ".")
	for name, content := range files {
		full := filepath.Join(p.work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
			p.Fatal(err)
		}
	}
	p.git("add", "-A")
	p.git("commit", "-q", "--allow-empty", "-m", message)
	p.git("push", "-q", "origin", "HEAD:main")
	return p.git("rev-parse", "HEAD")
}

// at is what the branch holds at the server.
func (p *past) at(branch string) map[string]string {
	p.Helper()
	p.git("fetch", "-q", "origin", branch)
	files := map[string]string{}
	for _, name := range strings.Fields(p.git("ls-tree", "-r", "--name-only", "FETCH_HEAD")) {
		files[name] = p.git("show", "FETCH_HEAD:"+name)
	}
	return files
}

var (
	badImage  = "sha256:" + strings.Repeat("b", 64)
	goodImage = "sha256:" + strings.Repeat("a", 64)
)

func lock(digest string) string {
	return `{"images": {"web:live": {"from": "dev/web", "digest": "` + digest + `"}}}`
}

func record(app, commit string, minute int, change ...func(*v1alpha1.RecordSpec)) v1alpha1.Record {
	r := v1alpha1.Record{ObjectMeta: metav1.ObjectMeta{Name: app + "-" + commit[:7]}}
	r.Spec = v1alpha1.RecordSpec{Application: app, Commit: commit, Message: "about " + commit[:3], Reason: "Commit", Outcome: "Applied",
		Started: metav1.NewTime(time.Date(2026, 5, 1, 12, minute, 0, 0, time.UTC))}
	for _, f := range change {
		f(&r.Spec)
	}
	return r
}

// identify gives git's commits an author. It keeps the test from running in parallel.
func identify(t *testing.T) {
	for name, value := range map[string]string{
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
		"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
	} {
		t.Setenv(name, value)
	}
}

func TestRollbackIsACommit(t *testing.T) {
	identify(t)
	p := newPast(t)
	first := map[string]string{"projects/shop/a.yaml": "a: 1", "projects/shop/gone.yaml": "gone", "projects/shop/images.lock.json": lock(goodImage), "lib/x.libsonnet": "1", "other.yaml": "1"}
	good := p.push("good", first)
	second := map[string]string{"projects/shop/a.yaml": "a: 2", "projects/shop/new.yaml": "new", "projects/shop/images.lock.json": lock(badImage), "lib/x.libsonnet": "2", "other.yaml": "2"}
	bad := p.push("bad", second)
	b := back{app: v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "shop"}, Spec: v1alpha1.ApplicationSpec{Path: "projects/shop"}}}
	var err error
	if b.bad, b.good, err = chooseRecords([]v1alpha1.Record{record("shop", good, 1), record("shop", bad, 2)}, "shop", ""); err != nil {
		t.Fatal(err)
	}
	c, err := cloneFor(t.Context(), p.url, "", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)

	// Somebody pushes meanwhile, and that stays.
	second["other.yaml"] = "3"
	head := p.push("meanwhile", second)
	commit, added, err := c.rollBack(t.Context(), wayBack{hold: true, reason: "it leaks"}, b)
	if err != nil {
		t.Fatal(err)
	}
	got := p.at("main")
	holds, err := api.ParseHolds([]byte(got["projects/shop/.holds.json"]))
	if err != nil || len(holds) != 2 || holds[0].Commit != bad || holds[1].Digest != badImage || holds[1].Reason != "it leaks" || len(added) != 2 {
		t.Errorf("holds %+v, %v", holds, err)
	}
	delete(got, "projects/shop/.holds.json")
	want := maps.Clone(first)
	want["lib/x.libsonnet"], want["other.yaml"] = "2", "3"
	if !maps.Equal(got, want) {
		t.Errorf("after it: %v\nwant %v", got, want)
	}
	if parents := p.git("rev-list", "--parents", "-n1", "FETCH_HEAD"); parents != commit+" "+head {
		t.Errorf("parents %s, want %s", parents, head)
	}
	message := p.git("log", "-1", "--format=%an%n%B", "FETCH_HEAD")
	if gate.RollsBackTo(message) != good || !strings.HasPrefix(message, "Ada\nroll shop back to "+good[:7]+"\n\nit leaks\n") {
		t.Errorf("message\n%s", message)
	}

	// Once more there is nothing to do.
	if _, _, err := c.rollBack(t.Context(), wayBack{hold: true}, b); !errors.Is(err, errNothing) {
		t.Errorf("again: %v", err)
	}

	// Forward to what was left, on a branch, with the library; its holds end.
	b.bad, b.good = b.good, b.bad
	if _, _, err := c.rollBack(t.Context(), wayBack{branch: "forward", hold: true, also: []string{"lib/"}}, b); err != nil {
		t.Fatal(err)
	}
	forward := p.at("forward")
	holds, err = api.ParseHolds([]byte(forward["projects/shop/.holds.json"]))
	if err != nil || slices.ContainsFunc(holds, func(h v1alpha1.Hold) bool { return h.Commit == bad || h.Digest == badImage }) || forward["projects/shop/a.yaml"] != "a: 2" {
		t.Errorf("forward: %v, holds %+v, %v", forward, holds, err)
	}
	if main := p.at("main"); main["projects/shop/a.yaml"] != "a: 1" {
		t.Errorf("the branch that is followed moved: %v", main)
	}
}

func TestRollbackOfEverythingHoldsNothing(t *testing.T) {
	identify(t)
	p := newPast(t)
	good := p.push("good", map[string]string{"a.yaml": "1", "dir/b.yaml": "1"})
	bad := p.push("bad", map[string]string{"a.yaml": "2", "c.yaml": "2"})
	c, err := cloneFor(t.Context(), p.url, "main", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	b := back{app: v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: "root"}}, bad: record("root", bad, 2).Spec, good: record("root", good, 1).Spec}
	if _, added, err := c.rollBack(t.Context(), wayBack{}, b); err != nil || len(added) > 0 {
		t.Fatalf("%v, %v", added, err)
	}
	if got := p.at("main"); !maps.Equal(got, map[string]string{"a.yaml": "1", "dir/b.yaml": "1"}) {
		t.Errorf("after it: %v", got)
	}
}

func TestWhereARollbackGoes(t *testing.T) {
	t.Parallel()
	c := func(digit string) string { return strings.Repeat(digit, 40) }
	all := []v1alpha1.Record{
		record("shop", c("1"), 1), record("shop", c("3"), 3), record("shop", c("2"), 2), record("other", c("9"), 9),
		record("shop", c("4"), 4, func(r *v1alpha1.RecordSpec) { r.Outcome = "Failed" }),
		record("shop", c("1"), 5, func(r *v1alpha1.RecordSpec) { r.Reason = "Drift" }), record("shop", c("3"), 6),
	}
	for to, want := range map[string]string{
		"": c("2"), c("1"): c("1"), c("1")[:7]: c("1"), "shop-2222222": c("2"), "1": "!no record 1", c("3"): "!nothing to go back from", c("9"): "!no record", c("4"): "!no record",
	} {
		bad, good, err := chooseRecords(slices.Clone(all), "shop", to)
		if no, is := strings.CutPrefix(want, "!"); is {
			if err == nil || !strings.Contains(err.Error(), no) {
				t.Errorf("%q: %v", to, err)
			}
			continue
		}
		if err != nil || bad.Commit != c("3") || good.Commit != want {
			t.Errorf("%q: from %.3s to %.3s, %v", to, bad.Commit, good.Commit, err)
		}
	}
	if _, _, err := chooseRecords(all[:1], "shop", ""); err == nil {
		t.Error("there is no other commit")
	}
	if _, _, err := chooseRecords(nil, "shop", ""); err == nil {
		t.Error("there is no record")
	}
}
