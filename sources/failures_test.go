package sources

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state/statetest"
)

// switchable is a server whose handler can be exchanged.
type switchable struct {
	mu sync.Mutex
	h  http.Handler
}

func (s *switchable) set(h http.HandlerFunc) {
	s.mu.Lock()
	s.h = h
	s.mu.Unlock()
}

func (s *switchable) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	h := s.h
	s.mu.Unlock()
	h.ServeHTTP(w, req)
}

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// advertising begins an answer as git does, and goes on with text.
func advertising(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	_, _ = io.WriteString(w, text)
}

// serviceLine and firstLine are how the list of references begins.
var (
	serviceLine = pkt("# service=git-upload-pack\n") + "0000"
	firstLine   = pkt(strings.Repeat("1", 40) + " HEAD\x00symref=HEAD:refs/heads/main ofs-delta\n")
)

// failing are the ways in which a repository goes bad, and the Ready condition then.
var failing = []struct {
	name            string
	spoil           func(h *gitHost, s *switchable)
	reason, message string
}{
	{"vanished branch", func(h *gitHost, _ *switchable) {
		git(h.t, h.work, "push", "--quiet", "origin", "HEAD:refs/heads/other")
		git(h.t, h.bare, "update-ref", "-d", "refs/heads/main")
	}, ReasonGitOperationFailed, `branch "main"`},
	{"emptied repository", func(h *gitHost, _ *switchable) { git(h.t, h.bare, "update-ref", "-d", "refs/heads/main") },
		ReasonGitOperationFailed, "no commit"},
	{"deleted repository", func(h *gitHost, _ *switchable) {
		if err := os.Rename(h.bare, h.bare+".gone"); err != nil {
			h.t.Fatal(err)
		}
	}, ReasonGitOperationFailed, "not found"},
	{"expired credentials", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "s3cret has expired", http.StatusUnauthorized)
		})
	}, ReasonAuthenticationFailed, "authentication required"},
	{"forbidden", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "s3cret may not", http.StatusForbidden) })
	}, ReasonAuthenticationFailed, "authorization failed"},
	{"broken server", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", http.StatusInternalServerError) })
	}, ReasonGitOperationFailed, "500"},
	{"a page instead of git", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") })
	}, ReasonGitOperationFailed, ""},
	{"garbage", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) { advertising(w, "zzzz\x00\xff\xfe") })
	}, ReasonGitOperationFailed, ""},
	{"nothing", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) { advertising(w, "") })
	}, ReasonGitOperationFailed, ""},
	{"references without end", func(_ *gitHost, s *switchable) {
		s.set(func(w http.ResponseWriter, _ *http.Request) {
			advertising(w, serviceLine+firstLine)
			line := pkt(fmt.Sprintf("%s refs/heads/%s\n", strings.Repeat("1", 40), strings.Repeat("x", 900)))
			for { // until the connection is closed
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		})
	}, ReasonGitOperationFailed, "more than is allowed"},
	{"objects that are not sent", func(_ *gitHost, s *switchable) {
		inner := s.h
		s.set(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/info/refs") {
				head := strings.Repeat("1", 40)
				advertising(w, serviceLine+firstLine+pkt(head+" refs/heads/main\n")+"0000")
				return
			}
			inner.ServeHTTP(w, req)
		})
	}, ReasonGitOperationFailed, "not our ref"},
	{"an answer that never comes", func(_ *gitHost, s *switchable) {
		s.set(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	}, ReasonGitOperationFailed, "timed out"},
	{"a redirect to another host", func(h *gitHost, s *switchable) {
		thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" {
				h.t.Error("credentials were sent on")
			}
			http.Error(w, "hand them over", http.StatusUnauthorized)
		}))
		h.t.Cleanup(thief.Close)
		s.set(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, thief.URL+req.URL.RequestURI(), http.StatusFound)
		})
	}, ReasonAuthenticationFailed, ""},
}

func TestTheLastGoodRevisionStays(t *testing.T) {
	t.Parallel()
	for _, c := range failing {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, gitserver.Options{})
			inner, err := gitserver.New(gitserver.Options{Root: h.root, Users: map[string]string{"robot": "s3cret"}})
			if err != nil {
				t.Fatal(err)
			}
			s := &switchable{h: inner}
			h.serve(s)
			first := h.push("first", map[string]string{"f": "1"})
			r := run(t, statetest.New(t), t.TempDir())
			r.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: shop.Namespace, Name: "git"},
				Data: map[string][]byte{"username": []byte("robot"), "password": []byte("s3cret")}})
			r.create(shopRepository(h.url, func(s *v1alpha1.GitRepositorySpec) {
				s.SecretRef = &corev1.LocalObjectReference{Name: "git"}
				s.Timeout = &metav1.Duration{Duration: time.Minute}
				if c.message == "timed out" {
					s.Timeout.Duration = 3 * time.Second
				}
			}))
			r.untilCommit(first)
			c.spoil(h, s)
			r.Refresh(shop)
			repo := r.until(c.name, func(_ *v1alpha1.GitRepository, ready metav1.Condition) bool {
				return ready.Status == metav1.ConditionFalse
			})
			ready := meta.FindStatusCondition(repo.Status.Conditions, ConditionReady)
			if ready.Reason != c.reason || !strings.Contains(ready.Message, c.message) || !strings.Contains(ready.Message, "stays in force") || strings.Contains(ready.Message, "s3cret") {
				t.Errorf("condition %+v", ready)
			}
			if repo.Status.Artifact == nil || repo.Status.Artifact.Commit != first {
				t.Errorf("artifact %+v", repo.Status.Artifact)
			}
			if rev, err := r.Revision(testContext(t), shop); err != nil || rev.Commit != first || readTest(t, rev.Tree, "f") != "1" {
				t.Errorf("revision %+v, %v", rev, err)
			}
			r.told(c.reason, 1)
		})
	}
}

// TestOneHostileRepositoryDelaysNoOther follows a good repository beside many that hang
// or send without end.
func TestOneHostileRepositoryDelaysNoOther(t *testing.T) {
	t.Parallel()
	h := newHost(t, gitserver.Options{})
	first := h.push("first", map[string]string{"f": "1"})
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "hang") {
			<-req.Context().Done()
			return
		}
		advertising(w, serviceLine+firstLine)
		for req.Context().Err() == nil { // slowly, for ever
			_, _ = io.WriteString(w, pkt(strings.Repeat("1", 40)+" refs/heads/x\n"))
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}))
	t.Cleanup(hostile.Close)
	r := run(t, statetest.New(t), t.TempDir())
	const many = 150 // more than there are workers
	for i := range many {
		repo := shopRepository(fmt.Sprintf("%s/%s%d.git", hostile.URL, []string{"hang", "drip"}[i%2], i), nil)
		repo.Namespace, repo.Name = "eve", fmt.Sprint("bad", i)
		if err := r.client.Create(context.Background(), repo); err != nil {
			t.Fatal(err)
		}
	}
	r.create(shopRepository(h.url, nil))
	r.untilCommit(first)
	second := h.push("second", map[string]string{"f": "2"})
	r.Refresh(shop)
	r.untilCommit(second)
	var all v1alpha1.GitRepositoryList
	if err := r.client.List(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, b := range all.Items {
		if b.Name != shop.Name && (b.Status.Artifact != nil || len(b.Status.Conditions) > 0) {
			t.Errorf("%s is not waiting any more: %+v", b.Name, b.Status)
		}
	}
}

func TestARewrittenBranchIsFollowedAndSaid(t *testing.T) {
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
	repo := r.untilCommit(rewritten)
	c := meta.FindStatusCondition(repo.Status.Conditions, ConditionRewritten)
	if c == nil || c.Reason != ReasonHistoryRewritten || !strings.Contains(c.Message, old) {
		t.Errorf("conditions %+v", repo.Status.Conditions)
	}
	r.told("HistoryRewritten", 1)
	// A look at nothing new does not take it back; a commit that follows on does.
	r.Refresh(shop)
	if repo := r.settle(repo); meta.FindStatusCondition(repo.Status.Conditions, ConditionRewritten) == nil {
		t.Error("it is forgotten at once")
	}
	next := h.push("next", map[string]string{"f": "3"})
	r.Refresh(shop)
	if repo := r.untilCommit(next); meta.FindStatusCondition(repo.Status.Conditions, ConditionRewritten) != nil {
		t.Error("it stays for ever")
	}
}
