package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

// events keeps what was told to people.
type events struct {
	mu   sync.Mutex
	said []string
}

func (e *events) Event(_ client.Object, kind, reason, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, kind+" "+reason+" "+fmt.Sprintf(format, args...))
}

func (e *events) count(part string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, s := range e.said {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

type running struct {
	*Sources
	t      *testing.T
	client client.WithWatch
	events *events
	stop   func()
}

// run starts the controller over live state and the mirrors in dir.
func run(t *testing.T, c client.WithWatch, dir string) *running {
	t.Helper()
	m, err := NewMirrors(dir, Options{Reachable: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, client: c, events: &events{}}
	r.Sources = New(Deps{Client: c, Mirrors: m, Events: r.events})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, c, slog.New(slog.NewTextHandler(t.Output(), nil)), r.Controllers()...) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) create(obj client.Object) {
	r.t.Helper()
	if err := r.client.Create(context.Background(), obj); err != nil {
		r.t.Fatal(err)
	}
}

var shop = types.NamespacedName{Namespace: "slipway", Name: "shop"}

func shopRepository(url string, change func(*v1alpha1.GitRepositorySpec)) *v1alpha1.GitRepository {
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: shop.Namespace, Name: shop.Name},
		Spec: v1alpha1.GitRepositorySpec{URL: url, Interval: &metav1.Duration{Duration: time.Hour}, Reference: &v1alpha1.GitRepositoryRef{Branch: "main"}}}
	if change != nil {
		change(&repo.Spec)
	}
	return repo
}

// until waits for the repository to be as wanted.
func (r *running) until(what string, ok func(*v1alpha1.GitRepository, metav1.Condition) bool) *v1alpha1.GitRepository {
	r.t.Helper()
	var repo v1alpha1.GitRepository
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if err := r.client.Get(context.Background(), shop, &repo); err != nil {
			r.t.Fatal(err)
		}
		ready := meta.FindStatusCondition(repo.Status.Conditions, ConditionReady)
		if ready != nil && ok(&repo, *ready) {
			return &repo
		}
	}
	r.t.Fatalf("%s: status is %+v", what, repo.Status)
	return nil
}

func (r *running) untilCommit(commit string) *v1alpha1.GitRepository {
	r.t.Helper()
	return r.until("commit "+commit, func(g *v1alpha1.GitRepository, c metav1.Condition) bool {
		return c.Status == metav1.ConditionTrue && g.Status.Artifact.Commit == commit
	})
}

// TestAnotherServerWasToldOfACommit: it leads to a look here, whose interval is an hour.
func TestAnotherServerWasToldOfACommit(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	repo := r.untilCommit(first)
	for _, n := range []string{"2", "3"} {
		next := h.push("next", map[string]string{"f": n})
		patch := []byte(`{"metadata":{"annotations":{"` + api.RequestedAt + `":"` + n + `"}}}`)
		if err := r.client.Patch(t.Context(), repo, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
		r.untilCommit(next)
	}
}

func TestControllerFollowsARepository(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	repo := r.untilCommit(first)
	if a := repo.Status.Artifact; a.Revision != "main@sha1:"+first || a.Message != "first" || a.Author != "Ada <ada@example.org>" || a.When.IsZero() {
		t.Errorf("artifact %+v", a)
	}
	settled := r.settle(repo)

	// Looking again at the same thing writes nothing.
	for range 3 {
		r.Refresh(shop)
	}
	if again := r.settle(settled); again.ResourceVersion != settled.ResourceVersion {
		t.Errorf("the status was written again: %+v", again.Status)
	}

	second := h.push("second", map[string]string{"f": "2"})
	git(t, h.work, "tag", "v1.0")
	git(t, h.work, "push", "--quiet", "origin", "v1.0")
	r.RefreshURL(strings.ToUpper(h.url[:4]) + strings.TrimSuffix(h.url[4:], ".git"))
	repo = r.untilCommit(second)
	if len(repo.Status.Tags) != 1 || repo.Status.Tags[0] != (v1alpha1.GitTag{Name: "v1.0", Commit: second}) {
		t.Errorf("tags %+v", repo.Status.Tags)
	}
	r.told("NewArtifact", 2)
	rev, err := r.Revision(testContext(t), shop)
	if err != nil || rev.Commit != second || rev.Branch != "main" || rev.Repository != "slipway/shop" {
		t.Fatalf("revision %+v, %v", rev, err)
	}
	if got := readTest(t, rev.Tree, "f"); got != "2" {
		t.Errorf("f = %q", got)
	}
}

// told waits until exactly n events hold part; they follow the status that they are about.
func (r *running) told(part string, n int) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); r.events.count(part) != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("events %v, want %d of %s", r.events.said, n, part)
		}
	}
}

// settle waits until the object has stayed as it is for a while.
func (r *running) settle(was *v1alpha1.GitRepository) *v1alpha1.GitRepository {
	r.t.Helper()
	for {
		time.Sleep(300 * time.Millisecond)
		var now v1alpha1.GitRepository
		if err := r.client.Get(context.Background(), shop, &now); err != nil {
			r.t.Fatal(err)
		}
		if now.ResourceVersion == was.ResourceVersion {
			return &now
		}
		was = &now
	}
}

func TestControllerKeepsTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	live, dir := statetest.New(t), t.TempDir()
	r := run(t, live, dir)
	r.create(shopRepository(h.url, nil))
	r.untilCommit(first)

	// The branch vanishes.
	git(t, h.work, "push", "--quiet", "origin", "HEAD:refs/heads/other")
	git(t, h.bare, "update-ref", "-d", "refs/heads/main")
	r.Refresh(shop)
	repo := r.until("branch gone", func(_ *v1alpha1.GitRepository, c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, `branch "main"`)
	})
	if repo.Status.Artifact == nil || repo.Status.Artifact.Commit != first {
		t.Errorf("artifact %+v", repo.Status.Artifact)
	}
	// The server goes away, and the process with it.
	h.server.Close()
	r.Refresh(shop)
	r.until("server gone", func(_ *v1alpha1.GitRepository, c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && c.Reason == ReasonGitOperationFailed && strings.Contains(c.Message, "refused")
	})
	r.stop()
	again := run(t, live, dir)
	rev, err := again.Revision(testContext(t), shop)
	if err != nil || rev.Commit != first || readTest(t, rev.Tree, "f") != "1" {
		t.Errorf("after a restart: %+v, %v", rev, err)
	}
}

func TestControllerReportsARewrittenHistory(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	h.push("base", map[string]string{"f": "0"})
	old := h.push("old", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(old)
	git(t, h.work, "reset", "--quiet", "--hard", "HEAD~1")
	rewritten := commitIn(t, h.work, "rewritten", map[string]string{"f": "2"})
	git(t, h.work, "push", "--quiet", "--force", "origin", "HEAD")
	r.Refresh(shop)
	r.untilCommit(rewritten)
	r.told("HistoryRewritten", 1)
}

func TestControllerUsesTheSecretAndWaitsForIt(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{Users: map[string]string{"robot": "s3cret"}})
	first := h.push("first", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.SecretRef = &corev1.LocalObjectReference{Name: "git"} }))
	r.until("no secret", func(_ *v1alpha1.GitRepository, c metav1.Condition) bool {
		return c.Reason == ReasonAuthenticationFailed
	})
	r.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: shop.Namespace, Name: "git"},
		Data: map[string][]byte{"username": []byte("robot"), "password": []byte("s3cret")}})
	r.untilCommit(first)

	// Another project that names the same URL does not see what the credentials opened.
	if rev, err := r.Source(testContext(t), h.url, "", first, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "eve"}}); err == nil {
		t.Errorf("another project reads %s", rev.Commit)
	}
	if rev, err := r.Source(testContext(t), h.url, "", first, nil); err == nil {
		t.Errorf("without a secret: %s", rev.Commit)
	}
}

func TestControllerSemverAndSuspend(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	git(t, h.work, "tag", "-a", "v1.0.0", "-m", "one")
	h.push("second", map[string]string{"f": "2"})
	git(t, h.work, "tag", "v2.0.0")
	git(t, h.work, "push", "--quiet", "origin", "--tags")
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.Reference = &v1alpha1.GitRepositoryRef{SemVer: "1.x"} }))
	repo := r.untilCommit(first)
	if repo.Status.Artifact.Revision != "v1.0.0@sha1:"+first {
		t.Errorf("revision %s", repo.Status.Artifact.Revision)
	}
	settled := r.settle(repo)
	settled.Spec.Suspend = true
	if err := r.client.Update(context.Background(), settled); err != nil {
		t.Fatal(err)
	}
	settled = r.settle(settled)
	git(t, h.work, "tag", "v1.1.0")
	git(t, h.work, "push", "--quiet", "origin", "--tags")
	r.Refresh(shop)
	if again := r.settle(settled); again.Status.Artifact.Commit != first {
		t.Error("a suspended repository was followed")
	}
}

func TestRevisionAtAndSource(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1", "secret/x": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	ignore := "secret/\n# comment\n"
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.Ignore = &ignore }))
	r.untilCommit(first)
	git(t, h.work, "checkout", "--quiet", "-b", "review/1")
	branch := h.push("branch", map[string]string{"f": "branch"})

	for _, ref := range []string{"review/1", branch, "refs/heads/review/1"} {
		rev, err := r.RevisionAt(testContext(t), shop, ref)
		if err != nil || rev.Commit != branch || readTest(t, rev.Tree, "f") != "branch" {
			t.Errorf("%s: %+v, %v", ref, rev, err)
			continue
		}
		if _, err := fs.Stat(rev.Tree, "secret/x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an ignored path is seen: %v", err)
		}
	}
	for _, ref := range []string{"nope", strings.Repeat("0", 40), "--x", "main~1", "refs/heads/../x"} {
		if rev, err := r.RevisionAt(testContext(t), shop, ref); err == nil {
			t.Errorf("%q is %s", ref, rev.Commit)
		}
	}
	// The mirror is shared by URL, and what it holds needs no server.
	rev, err := r.Source(testContext(t), h.url, "review/1", "", nil)
	if err != nil || rev.Commit != branch {
		t.Fatalf("source: %+v, %v", rev, err)
	}
	h.server.Close()
	if rev, err = r.Source(testContext(t), h.url, "main", first, nil); err != nil || rev.Commit != first || rev.Branch != "main" {
		t.Errorf("source of a known commit: %+v, %v", rev, err)
	}
	if _, err := r.Source(testContext(t), h.url, "", strings.Repeat("1", 40), nil); err == nil {
		t.Error("an unknown commit without a server")
	}
}

func TestCommitThroughTheControllerIsFollowed(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	r := run(t, statetest.New(t), t.TempDir())
	r.create(shopRepository(h.url, nil))
	r.untilCommit(first)
	commit, err := r.Commit(testContext(t), api.CommitRequest{Repository: shop, Message: "promote",
		Changes: func(fs.FS) (map[string][]byte, error) { return map[string][]byte{"lock": []byte("x")}, nil }})
	if err != nil || commit == first {
		t.Fatal(commit, err)
	}
	r.untilCommit(commit)
	if tags, err := r.Tags(testContext(t), shop); err != nil || len(tags) != 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
}
