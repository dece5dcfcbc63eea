package sources

import (
	"errors"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, want string }{
		{"https://GitHub.com/o/r.git", "https://github.com/o/r"},
		{"https://github.com:443/o/r/", "https://github.com/o/r"},
		{"http://127.0.0.1:3000/git/shop.git", "http://127.0.0.1:3000/git/shop"},
		{"http://[::1]:80/x", "http://[::1]/x"},
		{"git@github.com:o/R.git", "ssh://git@github.com/o/R"},
		{"ssh://git@github.com:22/o/R", "ssh://git@github.com/o/R"},
		{"ssh://git@host:2222/~u/r.git", "ssh://git@host:2222/~u/r"},
		{"file:///srv/git/x.git", "file:///srv/git/x"},
		{"", ""},
		{"ext::sh -c touch% /tmp/x", ""},
		{"ext::sh", ""},
		{"git://host/x", "git://host/x"},
		{"git://host:9418/x.git", "git://host/x"},
		{"git://user@host/x", ""},
		{"https://user:pw@host/x", ""},
		{"https://token@host/x", ""},
		{"ssh://git:pw@host/x", ""},
		{"ssh://-oProxyCommand=x/y", ""},
		{"ssh://-oX@host/y", ""},
		{"https://host./x", "https://host/x"},
		{"https://host../x", ""},
		{"https://a..b/x", ""},
		{"https://host/../etc", ""},
		{"https://host/a?x=1", ""},
		{"https://host/a#x", ""},
		{"https://host/a b", ""},
		{"https://host/a\nb", ""},
		{"https://host", ""},
		{"https://host/" + strings.Repeat("x", 3000), ""},
		{"file://host/x", ""},
		{"/srv/git/x", ""},
		{"--upload-pack=x", ""},
	} {
		l, err := ParseURL(c.raw)
		if c.want == "" {
			if !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "pw") {
				t.Errorf("%.60q: %v, %v", c.raw, l, err)
			}
			continue
		}
		if err != nil || l.String() != c.want {
			t.Errorf("%q: %q, %v; want %q", c.raw, l, err, c.want)
		}
		again, err := ParseURL(l.Fetch)
		if err != nil || again.String() != l.String() {
			t.Errorf("%q: fetched as %q, which is %q, %v", c.raw, l.Fetch, again, err)
		}
	}
	if !SameRepository("https://H/x.git", "https://h:443/x/") || SameRepository("https://h/x", "https://h/y") || SameRepository("", "") {
		t.Error("SameRepository")
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"https://h/x.git", "git@h:x", "file:///x", "ssh://a@[::1]:2/x%2f..", "h:p", "4..:+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := ParseURL(raw)
		if err != nil {
			return
		}
		again, err := ParseURL(l.Fetch)
		if err != nil || again.String() != l.String() {
			t.Errorf("%q is fetched as %q, which is %v, %v", raw, l.Fetch, again, err)
		}
		if strings.HasPrefix(l.Host, "-") || strings.Contains(l.Path, "..") && strings.Contains("/"+l.Path+"/", "/../") {
			t.Errorf("%q: host %q, path %q", raw, l.Host, l.Path)
		}
	})
}

var names = []string{"refs/heads/main", "refs/heads/a/b", "refs/tags/v1.0", "refs/pull/1/head", "refs/heads/ümlaut", "refs/heads/a.b",
	"", "main", "refs/", "refs/heads", "refs/heads/", "refs/heads//a", "refs/heads/a/", "refs/heads/.a", "refs/heads/a.lock", "refs/heads/a.lock/b",
	"refs/heads/a..b", "refs/heads/../../config", "refs/heads/a b", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/a*",
	"refs/heads/a[", `refs/heads/a\b`, "refs/heads/a@{1}", "refs/heads/a\x7f", "refs/heads/a\n", "refs/heads/a.", "refs/heads/--upload-pack=x"}

func TestCheckRefNameIsNoLaxerThanGit(t *testing.T) {
	t.Parallel()
	for i, name := range names {
		ours := CheckRefName(name) == nil
		gits := exec.Command("git", "check-ref-format", name).Run() == nil
		if ours && !gits {
			t.Errorf("%q is allowed, git refuses it", name)
		}
		if want := i < 6; ours != want {
			t.Errorf("%q: allowed = %v", name, ours)
		}
	}
	if CheckRefName("refs/heads/"+strings.Repeat("x", 4096)) == nil {
		t.Error("4 KB are allowed")
	}
}

func FuzzCheckRefName(f *testing.F) {
	for _, n := range names {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckRefName(name) != nil {
			return
		}
		if strings.Contains(name, "..") || strings.ContainsAny(name, "\x00\n ~^:?*[\\") || strings.Contains(name, "/-") || len(name) > 1024 {
			t.Errorf("%q is allowed", name)
		}
		dir := t.TempDir()
		r := refs{head: name, names: map[string]plumbing.Hash{name: plumbing.NewHash(strings.Repeat("a", 40))}, peeled: map[string]plumbing.Hash{}}
		if err := writeRefs(dir, refs{}, r); err != nil {
			t.Fatal(err)
		}
		if got, err := readRefs(dir); err != nil || !got.equal(r) {
			t.Errorf("%q is read back as %v, %v", name, got, err)
		}
	})
}

func hash(c string) plumbing.Hash { return plumbing.NewHash(strings.Repeat(c, 40)) }

func TestResolve(t *testing.T) {
	t.Parallel()
	r := refs{head: "refs/heads/main", peeled: map[string]plumbing.Hash{"refs/tags/v1.2.0": hash("c")}, names: map[string]plumbing.Hash{
		"refs/heads/main": hash("a"), "refs/heads/dev": hash("b"), "refs/tags/v1.2.0": hash("d"), "refs/tags/v1.10.0": hash("e"),
		"refs/tags/2.0.0-rc.1": hash("f"), "refs/tags/nightly": hash("1"), "refs/pull/1/head": hash("2")}}
	full := strings.Repeat("9", 40)
	for _, c := range []struct {
		ref      *v1alpha1.GitRepositoryRef
		revision string
	}{
		{nil, "main@sha1:" + hash("a").String()},
		{&v1alpha1.GitRepositoryRef{}, "main@sha1:" + hash("a").String()},
		{&v1alpha1.GitRepositoryRef{Branch: "dev"}, "dev@sha1:" + hash("b").String()},
		{&v1alpha1.GitRepositoryRef{Tag: "v1.2.0"}, "v1.2.0@sha1:" + hash("c").String()},
		{&v1alpha1.GitRepositoryRef{SemVer: ">=1.0.0"}, "v1.10.0@sha1:" + hash("e").String()},
		{&v1alpha1.GitRepositoryRef{SemVer: "~1.2"}, "v1.2.0@sha1:" + hash("c").String()},
		{&v1alpha1.GitRepositoryRef{SemVer: ">=1.0.0-0"}, "2.0.0-rc.1@sha1:" + hash("f").String()},
		{&v1alpha1.GitRepositoryRef{Name: "refs/pull/1/head"}, "refs/pull/1/head@sha1:" + hash("2").String()},
		{&v1alpha1.GitRepositoryRef{Name: "HEAD"}, "main@sha1:" + hash("a").String()},
		{&v1alpha1.GitRepositoryRef{Commit: full}, "sha1:" + full},
		{&v1alpha1.GitRepositoryRef{Commit: full, Branch: "dev"}, "dev@sha1:" + full},
		// Precedence: commit, name, semver, tag, branch.
		{&v1alpha1.GitRepositoryRef{Branch: "dev", Tag: "nightly"}, "nightly@sha1:" + hash("1").String()},
		{&v1alpha1.GitRepositoryRef{Branch: "dev", Tag: "nightly", SemVer: "1.x"}, "v1.10.0@sha1:" + hash("e").String()},
		{&v1alpha1.GitRepositoryRef{Branch: "dev", Tag: "nightly", SemVer: "1.x", Name: "refs/heads/main"}, "main@sha1:" + hash("a").String()},
		{&v1alpha1.GitRepositoryRef{Branch: "gone"}, ""},
		{&v1alpha1.GitRepositoryRef{Branch: "../tags/nightly"}, ""},
		{&v1alpha1.GitRepositoryRef{Tag: "--x"}, ""},
		{&v1alpha1.GitRepositoryRef{SemVer: ">=9"}, ""},
		{&v1alpha1.GitRepositoryRef{SemVer: "nonsense"}, ""},
		{&v1alpha1.GitRepositoryRef{Commit: "abc"}, ""},
		{&v1alpha1.GitRepositoryRef{Name: "main"}, ""},
	} {
		got, err := resolve(r, c.ref)
		if c.revision == "" {
			if !errors.Is(err, ErrNoRevision) {
				t.Errorf("%+v: %v, %v", c.ref, got, err)
			}
			continue
		}
		if err != nil || got.revision() != c.revision {
			t.Errorf("%+v: %s, %v; want %s", c.ref, got.revision(), err, c.revision)
		}
	}
	for why, r := range map[string]refs{
		"no branches": {},
		"which one is meant (--branch, spec.ref.branch): dev, main": {names: map[string]plumbing.Hash{"refs/heads/main": hash("a"), "refs/heads/dev": hash("b"), "refs/tags/v1": hash("a")}},
	} {
		if _, err := resolve(r, nil); !errors.Is(err, ErrNoRevision) || !strings.HasSuffix(err.Error(), why) {
			t.Errorf("without HEAD: %v, want %s", err, why)
		}
	}
	var got []string
	for _, tag := range tags(r) {
		got = append(got, tag.Name)
	}
	if want := []string{"2.0.0-rc.1", "v1.10.0", "v1.2.0", "nightly"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tags = %v, want %v", got, want)
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 30, 0, time.UTC)
	ago := func(d time.Duration) look { return look{at: now.Add(-d), generation: 1, secret: "7"} }
	failed := func(d time.Duration, n int) look { l := ago(d); l.failures = n; return l }
	minute := v1alpha1.GitRepositorySpec{Interval: &metav1.Duration{Duration: time.Minute}}
	hourly := v1alpha1.GitRepositorySpec{Schedule: "0 * * * *"}
	for _, c := range []struct {
		name       string
		spec       v1alpha1.GitRepositorySpec
		generation int64
		look       look
		asked      bool
		due        bool
		wait       time.Duration
	}{
		{"never looked", minute, 1, look{}, false, true, 0},
		{"just looked", minute, 1, ago(10 * time.Second), false, false, 50 * time.Second},
		{"interval over", minute, 1, ago(time.Minute), false, true, 0},
		{"default interval", v1alpha1.GitRepositorySpec{}, 1, ago(10 * time.Second), false, false, 50 * time.Second},
		{"hook", minute, 1, ago(time.Second), true, true, 0},
		{"spec changed", minute, 2, ago(time.Second), false, true, 0},
		{"schedule", hourly, 1, ago(10 * time.Second), false, false, 59*time.Minute + 30*time.Second},
		{"schedule came", hourly, 1, ago(10 * time.Minute), false, true, 0},
		{"bad schedule", v1alpha1.GitRepositorySpec{Schedule: "x"}, 1, ago(10 * time.Second), false, false, 50 * time.Second},
		{"first retry", minute, 1, failed(time.Second, 1), false, false, time.Second},
		{"third retry", minute, 1, failed(time.Second, 3), false, false, 7 * time.Second},
		{"many failures", minute, 1, failed(time.Second, 99), false, false, 59 * time.Second},
	} {
		due, wait := due(c.spec, c.generation, "7", c.look, c.asked, now)
		if due != c.due || wait != c.wait {
			t.Errorf("%s: %v in %v, want %v in %v", c.name, due, wait, c.due, c.wait)
		}
	}
	if ok, _ := due(minute, 1, "8", ago(time.Second), false, now); !ok {
		t.Error("a changed Secret is not looked at")
	}
}

func TestDecideKeepsTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	now := time.Now()
	repo := &v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	good := outcome{artifact: &v1alpha1.GitArtifact{Revision: "main@sha1:abc", Commit: "abc"}, tags: []v1alpha1.GitTag{{Name: "v1", Commit: "abc"}}}
	repo.Status = decide(repo, good, now)
	ready := repo.Status.Conditions[0]
	if ready.Status != metav1.ConditionTrue || ready.Reason != ReasonSucceeded || repo.Status.ObservedGeneration != 2 {
		t.Errorf("after a good look: %+v", repo.Status)
	}
	same := decide(repo, good, now.Add(time.Hour))
	if !reflect.DeepEqual(same, repo.Status) {
		t.Errorf("the same outcome changes the status: %+v", same)
	}
	repo.Status = decide(repo, outcome{err: errors.New("read tcp 127.0.0.1:45678->10.0.0.1:80: reset")}, now)
	ready = repo.Status.Conditions[0]
	if ready.Status != metav1.ConditionFalse || ready.Reason != ReasonGitOperationFailed || repo.Status.Artifact.Commit != "abc" || len(repo.Status.Tags) != 1 {
		t.Errorf("after a bad look: %+v", repo.Status)
	}
	if strings.Contains(ready.Message, "45678") || !strings.Contains(ready.Message, "main@sha1:abc stays in force") {
		t.Errorf("message %q", ready.Message)
	}
	for want, err := range map[string]error{ReasonURLInvalid: ErrURL, ReasonAuthenticationFailed: ErrCredentials} {
		if got := decide(repo, outcome{err: err}, now).Conditions[0].Reason; got != want {
			t.Errorf("%v: reason %s", err, got)
		}
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	got := message(" subject\n\nbody \n", []api.Trailer{{Key: "From where", Value: "a\nb"}, {Key: "Empty", Value: " "}, {Key: "X:Y\n", Value: "1"}})
	if want := "subject\n\nbody\n\nFrom-where: a b\nXY: 1\n"; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
}
