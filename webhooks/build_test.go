package webhooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func buildConfig(name, ref string) *buildv1.BuildConfig {
	hook := func(secret string) *buildv1.WebHookTrigger { return &buildv1.WebHookTrigger{Secret: secret} }
	return &buildv1.BuildConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: buildv1.BuildConfigSpec{
			CommonSpec: buildv1.CommonSpec{
				Source:   buildv1.BuildSource{Type: buildv1.BuildSourceGit, Git: &buildv1.GitBuildSource{URI: "http://127.0.0.1/shop.git", Ref: ref}},
				Strategy: buildv1.BuildStrategy{Type: buildv1.DockerBuildStrategyType, DockerStrategy: &buildv1.DockerBuildStrategy{}},
			},
			Triggers: []buildv1.BuildTriggerPolicy{
				{Type: buildv1.GitHubWebHookBuildTriggerType, GitHubWebHook: hook("gh-secret")},
				{Type: buildv1.GitHubWebHookBuildTriggerType, GitHubWebHook: &buildv1.WebHookTrigger{SecretReference: &buildv1.SecretLocalReference{Name: "hook"}}},
				{Type: buildv1.GitHubWebHookBuildTriggerType, GitHubWebHook: &buildv1.WebHookTrigger{SecretReference: &buildv1.SecretLocalReference{Name: "nowhere"}}},
				{Type: buildv1.GitLabWebHookBuildTriggerType, GitLabWebHook: hook("gl-secret")},
				{Type: buildv1.BitbucketWebHookBuildTriggerType, BitbucketWebHook: hook("bb-secret")},
				{Type: buildv1.GenericWebHookBuildTriggerType, GenericWebHook: &buildv1.WebHookTrigger{Secret: "env-secret", AllowEnv: true}},
				{Type: buildv1.GenericWebHookBuildTriggerType, GenericWebHook: hook("ge-secret")},
			},
		},
	}
}

const (
	sha    = "0123456789abcdef0123456789abcdef01234567"
	zeros  = "0000000000000000000000000000000000000000"
	github = "Content-Type: application/json\nX-GitHub-Event: push"
	gitlab = "Content-Type: application/json\nX-Gitlab-Event: Push Hook"
	cloud  = "Content-Type: application/json\nX-Event-Key: repo:push"
	server = "Content-Type: application/json; charset=utf-8\nX-Event-Key: repo:refs_changed"
	asJSON = "Content-Type: application/json"
	asYAML = "Content-Type: application/yaml"
)

func githubPush(ref string) string {
	return fmt.Sprintf(`{"ref":%q,"after":%q,"head_commit":{"id":%q,"message":"m","author":{"name":"Ada","email":"a@x"},"committer":{"name":"Bob","email":"b@x"}},"repository":{"default_branch":"trunk"}}`, ref, sha, sha)
}

func TestBuildHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(buildConfig("app", "dev"), buildConfig("default", ""), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hook"}, Data: map[string][]byte{buildv1.WebHookSecretKey: []byte("referenced")}})
	cloudPush := func(kind, name string) string {
		return fmt.Sprintf(`{"push":{"changes":[{"new":null},{"new":{"type":%q,"name":%q,"target":{"hash":%q,"message":"m","author":{"raw":"Ada <a@x>"}}}}]}}`, kind, name, sha)
	}
	const built, nothing = true, false
	for _, c := range []struct {
		name, path, header, body string
		code                     int
		build                    bool
	}{
		{"github push", "app/webhooks/gh-secret/github", github, githubPush("refs/heads/dev"), 200, built},
		{"secret by reference", "app/webhooks/referenced/github", github, githubPush("refs/heads/dev"), 200, built},
		{"gogs", "app/webhooks/gh-secret/github", "Content-Type: application/json\nX-Gogs-Event: push", `{"ref":"refs/heads/dev","after":"` + sha + `"}`, 200, built},
		{"default branch", "default/webhooks/gh-secret/github", github, githubPush("refs/heads/trunk"), 200, built},
		{"other branch", "app/webhooks/gh-secret/github", github, githubPush("refs/heads/main"), 200, nothing},
		{"not the default branch", "default/webhooks/gh-secret/github", github, githubPush("refs/heads/main"), 200, nothing},
		{"tag of the branch's name", "app/webhooks/gh-secret/github", github, githubPush("refs/tags/dev"), 200, nothing},
		{"ping", "app/webhooks/gh-secret/github", "Content-Type: application/json\nX-GitHub-Event: ping", `{}`, 200, nothing},
		{"branch deleted", "app/webhooks/gh-secret/github", github, `{"ref":"refs/heads/dev","deleted":true,"after":"` + zeros + `"}`, 200, nothing},
		{"other event", "app/webhooks/gh-secret/github", "Content-Type: application/json\nX-GitHub-Event: issues", `{}`, 400, nothing},
		{"no event", "app/webhooks/gh-secret/github", asJSON, githubPush("refs/heads/dev"), 400, nothing},
		{"form", "app/webhooks/gh-secret/github", "Content-Type: application/x-www-form-urlencoded\nX-GitHub-Event: push", "payload={}", 400, nothing},
		{"malformed", "app/webhooks/gh-secret/github", github, `{"ref":`, 400, nothing},
		{"commit that is none", "app/webhooks/gh-secret/github", github, strings.ReplaceAll(githubPush("refs/heads/dev"), sha, "--upload-pack=x"), 400, nothing},

		{"wrong secret", "app/webhooks/nope/github", github, githubPush("refs/heads/dev"), 401, nothing},
		{"secret of another type", "app/webhooks/gl-secret/github", github, githubPush("refs/heads/dev"), 401, nothing},
		{"no such config", "nope/webhooks/gh-secret/github", github, githubPush("refs/heads/dev"), 401, nothing},
		{"unknown type", "app/webhooks/gh-secret/svn", github, githubPush("refs/heads/dev"), 404, nothing},

		{"gitlab push", "app/webhooks/gl-secret/gitlab", gitlab, `{"ref":"refs/heads/dev","after":"` + sha + `","commits":[{"id":"` + zeros + `"},{"id":"` + sha + `","message":"m","author":{"name":"Ada","email":"a@x"}}]}`, 200, built},
		{"gitlab new branch", "app/webhooks/gl-secret/gitlab", gitlab, `{"ref":"refs/heads/dev","after":"` + sha + `","commits":[]}`, 200, built},
		{"gitlab deleted", "app/webhooks/gl-secret/gitlab", gitlab, `{"ref":"refs/heads/dev","after":"` + zeros + `","commits":[]}`, 200, nothing},
		{"gitlab other branch", "app/webhooks/gl-secret/gitlab", gitlab, `{"ref":"refs/heads/x","after":"` + sha + `"}`, 200, nothing},
		{"gitlab other event", "app/webhooks/gl-secret/gitlab", "Content-Type: application/json\nX-Gitlab-Event: Note Hook", `{}`, 400, nothing},

		{"bitbucket cloud", "app/webhooks/bb-secret/bitbucket", cloud, cloudPush("branch", "dev"), 200, built},
		{"bitbucket cloud tag", "app/webhooks/bb-secret/bitbucket", cloud, cloudPush("tag", "dev"), 200, nothing},
		{"bitbucket main", "default/webhooks/bb-secret/bitbucket", cloud, cloudPush("branch", "main"), 200, built},
		{"bitbucket server", "app/webhooks/bb-secret/bitbucket", server, `{"changes":[{"ref":{"id":"refs/heads/dev"},"toHash":"` + sha + `","type":"UPDATE"}]}`, 200, built},
		{"bitbucket server delete", "app/webhooks/bb-secret/bitbucket", server, `{"changes":[{"ref":{"id":"refs/heads/dev"},"toHash":"` + zeros + `","type":"DELETE"}]}`, 200, nothing},
		{"bitbucket other event", "app/webhooks/bb-secret/bitbucket", "Content-Type: application/json\nX-Event-Key: repo:fork", `{}`, 400, nothing},

		{"generic without a body", "app/webhooks/ge-secret/generic", "", "", 200, built},
		{"generic without git", "app/webhooks/ge-secret/generic", asJSON, `{}`, 200, built},
		{"generic yaml", "app/webhooks/ge-secret/generic", asYAML, "git:\n  ref: dev\n  commit: " + sha + "\n", 200, built},
		{"generic refs", "app/webhooks/ge-secret/generic", asJSON, `{"git":{"refs":[{"ref":"x"},{"ref":"refs/heads/dev","commit":"` + sha + `"}]}}`, 200, built},
		{"generic refs, none", "app/webhooks/ge-secret/generic", asJSON, `{"git":{"refs":[{"ref":"x"}]}}`, 200, nothing},
		{"generic other ref", "app/webhooks/ge-secret/generic", asJSON, `{"git":{"ref":"x"}}`, 200, nothing},
		{"generic malformed", "app/webhooks/ge-secret/generic", asJSON, `{"git":`, 400, nothing},
		{"generic malformed yaml", "app/webhooks/ge-secret/generic", asYAML, "git: [", 400, nothing},
		{"generic form", "app/webhooks/ge-secret/generic", "Content-Type: application/x-www-form-urlencoded", "x=1", 400, nothing},
	} {
		for _, group := range []string{"/oapi/v1", "/apis/build.openshift.io/v1"} {
			res := w.post(group+"/namespaces/shop/buildconfigs/"+c.path, c.header, c.body)
			builds := w.taken()
			if res.Code != c.code || (len(builds) == 1) != c.build {
				t.Errorf("%s: %d %s, %d builds; want %d, build %v", c.name, res.Code, res.Body, len(builds), c.code, c.build)
			}
			var out metav1.TypeMeta
			if err := json.Unmarshal(res.Body.Bytes(), &out); err != nil || (out.Kind == "Build") != c.build {
				t.Errorf("%s: answer %s", c.name, res.Body)
			}
		}
	}
}

func TestBuildHookCarriesTheRevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(buildConfig("app", "dev"))
	const base = "/apis/build.openshift.io/v1/namespaces/shop/buildconfigs/app/webhooks/"
	w.post(base+"gh-secret/github", github, githubPush("refs/heads/dev"))
	b := w.taken()
	if len(b) != 1 || b[0].Revision == nil || b[0].Revision.Git.Commit != sha || b[0].Revision.Git.Author.Name != "Ada" || b[0].Revision.Git.Committer.Name != "Bob" || b[0].Revision.Git.Message != "m" {
		t.Fatalf("request %+v", b)
	}
	if cause := b[0].TriggeredBy[0]; cause.GitHubWebHook == nil || cause.GitHubWebHook.Secret != "***" || cause.GitHubWebHook.Revision.Git.Commit != sha {
		t.Errorf("cause %+v", cause)
	}
	env := `{"env":[{"name":"A","value":"1"}],"git":{"ref":"dev"}}`
	w.post(base+"env-secret/generic", asJSON, env)
	if b := w.taken(); len(b) != 1 || len(b[0].Env) != 1 || b[0].Revision != nil {
		t.Errorf("allowed env: %+v", b)
	}
	w.post(base+"ge-secret/generic", asJSON, env)
	if b := w.taken(); len(b) != 1 || len(b[0].Env) != 0 {
		t.Errorf("env that is not allowed: %+v", b)
	}
}

func TestBuildHookRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(buildConfig("app", "dev"))
	const path = "/oapi/v1/namespaces/shop/buildconfigs/app/webhooks/"
	same := map[string]bool{}
	for _, p := range []string{path + "wrong/gitlab", strings.Replace(path, "/shop/", "/other/", 1) + "gl-secret/gitlab", path + "gh-secret/gitlab"} {
		same[w.post(p, gitlab, "{}").Body.String()] = true
	}
	if len(same) != 1 {
		t.Errorf("refusals differ: %v", same)
	}
	w.fail = apierrors.NewForbidden(buildv1.Resource("buildconfigs"), "app", errors.New("paused"))
	if res := w.post(path+"ge-secret/generic", "", ""); res.Code != http.StatusForbidden {
		t.Errorf("paused: %d %s", res.Code, res.Body)
	}
	w.fail = errors.New("the password is hunter2")
	if res := w.post(path+"ge-secret/generic", "", ""); res.Code != 500 || strings.Contains(res.Body.String(), "hunter2") {
		t.Errorf("failure: %d %s", res.Code, res.Body)
	}
	req := httptest.NewRequest(http.MethodGet, path+"ge-secret/generic", nil)
	res := httptest.NewRecorder()
	w.router.ServeHTTP(res, req)
	if res.Code == 200 {
		t.Error("GET starts a build")
	}
}

// untouched fails the test when it is read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(buildConfig("app", "dev"))
	w.create(repository("app", "hook", false)...)
	for _, path := range []string{"/oapi/v1/namespaces/shop/buildconfigs/app/webhooks/ge-secret/generic", "/hooks/git/shop/app"} {
		req := httptest.NewRequest(http.MethodPost, path, untouched{t})
		req.ContentLength = MaxBody + 1
		res := httptest.NewRecorder()
		w.router.ServeHTTP(res, req)
		if res.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: announced: %d", path, res.Code)
		}
		req = httptest.NewRequest(http.MethodPost, path, strings.NewReader(strings.Repeat(" ", MaxBody+1)))
		req.ContentLength = -1
		res = httptest.NewRecorder()
		w.router.ServeHTTP(res, req)
		if res.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: not announced: %d", path, res.Code)
		}
	}
	// Where the address leads nowhere nothing is read at all.
	for _, path := range []string{"/oapi/v1/namespaces/shop/buildconfigs/app/webhooks/wrong/generic", "/hooks/git/shop/nope"} {
		res := httptest.NewRecorder()
		w.router.ServeHTTP(res, httptest.NewRequest(http.MethodPost, path, untouched{t}))
		if res.Code != 401 && res.Code != 404 {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

func FuzzPayloads(f *testing.F) {
	f.Add("github", githubPush("refs/heads/dev"))
	f.Add("gitlab", `{"ref":"refs/heads/dev","after":"`+sha+`","commits":[{"id":"x"}]}`)
	f.Add("bitbucket", `{"push":{"changes":[{"new":{"name":"dev","target":{"hash":"`+sha+`"}}}]}}`)
	f.Add("refs", `{"changes":[{"ref":{"id":"refs/heads/dev"},"toHash":"`+sha+`"}]}`)
	f.Add("generic", `{"git":{"refs":[{"ref":"dev","commit":"`+sha+`"}]}}`)
	f.Add("yaml", "git:\n  ref: &a dev\n  uri: *a\n")
	bc := buildConfig("app", "dev")
	f.Fuzz(func(t *testing.T, kind, body string) {
		header := http.Header{}
		for line := range strings.SplitSeq(map[string]string{"github": github, "gitlab": gitlab, "bitbucket": cloud, "refs": server, "generic": asJSON, "yaml": asYAML}[kind], "\n") {
			name, value, _ := strings.Cut(line, ": ")
			header.Set(name, value)
		}
		hook := map[string]string{"github": "github", "gitlab": "gitlab", "bitbucket": "bitbucket", "refs": "bitbucket", "generic": "generic", "yaml": "generic"}[kind]
		if hook == "" {
			return
		}
		ev, err := buildHooks[hook].parse(header, []byte(body))
		if err != nil {
			return
		}
		rev, why := decide(bc, ev)
		if rev != nil && (why != "" || !isCommit(rev.Git.Commit)) {
			t.Errorf("%s %q: builds %q, %q", kind, body, rev.Git.Commit, why)
		}
	})
}
