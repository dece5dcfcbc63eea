package sources

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

func TestDepth(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	var commits []string
	add := func(n int) string {
		for range n {
			i := len(commits)
			commits = append(commits, h.push(fmt.Sprint(i), map[string]string{"f": fmt.Sprint(i), fmt.Sprintf("d/%d", i): "1"}))
		}
		return commits[len(commits)-1]
	}
	last := add(10)
	dir := t.TempDir()
	r := run(t, statetest.New(t), dir)
	r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) { s.Depth = 3 }))
	r.untilCommit(last)
	m, err := r.Mirrors.OpenShallow(mustParse(t, h.url), shop.Namespace, 3)
	if err != nil {
		t.Fatal(err)
	}
	count := func() string { t.Helper(); git(t, m.dir, "fsck"); return git(t, m.dir, "rev-list", "--count", "main") }
	if got := count(); got != "3" {
		t.Errorf("%s commits of history", got)
	}
	if rev, err := r.Revision(testContext(t), shop); err != nil || readTest(t, rev.Tree, "f") != "9" || readTest(t, rev.Tree, "d/0") != "1" {
		t.Error(err)
	}
	// New commits come on top, within the depth and beyond it.
	last = add(1)
	r.Refresh(shop)
	r.untilCommit(last)
	last = add(6)
	r.Refresh(shop)
	r.untilCommit(last)
	r.told("HistoryUnknown", 1)
	if r.events.count("HistoryRewritten") != 0 {
		t.Errorf("events %v", r.events.said)
	}
	if got, err := r.Changes(testContext(t), shop, commits[10], last); err != nil || len(got) != 7 {
		t.Errorf("changes %v, %v", got, err)
	}
	// An old commit is fetched when somebody asks for it.
	if rev, err := r.RevisionAt(testContext(t), shop, commits[1]); err != nil || readTest(t, rev.Tree, "f") != "1" {
		t.Error(err)
	}
	count()

	// A request finds its commit behind more commits than the depth.
	req := api.CommitRequest{Repository: shop, ID: "once", Message: "once", Changes: changing("g", "1").Changes}
	first, err := r.Commit(testContext(t), req)
	if err != nil {
		t.Fatal(err)
	}
	git(t, h.work, "pull", "--quiet", "origin", "main")
	last = add(5)
	if again, err := r.Commit(testContext(t), req); err != nil || again != first {
		t.Errorf("again: %s, %v", again, err)
	}
	r.Refresh(shop)
	r.untilCommit(last)
	r.stop()

	again := run(t, r.client, dir)
	rev, err := again.Revision(testContext(t), shop)
	if err != nil || rev.Commit != last {
		t.Errorf("after a restart: %s, %v", rev.Commit, err)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "*", "shallow"))
	if err != nil || len(packs) == 0 || strings.Contains(git(t, m.dir, "rev-parse", "--is-shallow-repository"), "false") {
		t.Error("git does not see that history is cut", packs, err)
	}
}
