package image_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/image"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

const registry = "127.0.0.1:5000"

type house struct {
	t    *testing.T
	c    client.WithWatch
	deps image.Deps
	sink image.Sink
	git  *repository
}

// newHouse is live state with two projects, and the controllers running.
func newHouse(t *testing.T) *house {
	t.Helper()
	c := statetest.New(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &house{t: t, c: c, git: newRepository(t)}
	h.deps = image.Deps{Client: c, Events: event.New(c, "image", slog.New(slog.DiscardHandler)), Log: log, Registry: registry, Commits: h.git}
	h.sink = image.NewSink(h.deps)
	for _, p := range []string{"shop-dev", "shop-prod"} {
		h.create(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: p}})
	}
	h.start()
	return h
}

func (h *house) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, h.c, h.deps.Log, image.Controllers(h.deps)...)
	}()
	h.t.Cleanup(func() { cancel(); <-done })
}

func (h *house) create(objs ...client.Object) {
	h.t.Helper()
	for _, o := range objs {
		if err := h.c.Create(h.t.Context(), o); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) get(o client.Object, namespace, name string) {
	h.t.Helper()
	if err := h.c.Get(h.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) eventually(what string, holds func() (bool, string)) {
	h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		ok, detail := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: %s", what, detail)
		}
	}
}

// push pushes an image that was built from a commit, and answers its digest.
func (h *house) push(repository, tag, commit string) string {
	h.t.Helper()
	manifest := fmt.Sprintf(`{"config":{"digest":"sha256:c","size":10},"layers":[{"digest":"sha256:l","size":90}],"annotations":{"of":%q}}`, repository+commit)
	p := image.Push{
		Repository: repository, Tag: tag, Digest: digestOf(manifest), MediaType: "application/vnd.oci.image.manifest.v1+json",
		Manifest: []byte(manifest), Config: fmt.Appendf(nil, `{"architecture":"amd64","config":{"Labels":{%q:%q}}}`, api.LabelCommit, commit),
	}
	if err := h.sink.Pushed(h.t.Context(), p); err != nil {
		h.t.Fatal(err)
	}
	return p.Digest
}

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// tagBecomes waits until the tag's history is the given images, newest first.
func (h *house) tagBecomes(namespace, stream, tag string, images ...string) {
	h.t.Helper()
	h.eventually(namespace+"/"+stream+":"+tag, func() (bool, string) {
		var s imagev1.ImageStream
		h.get(&s, namespace, stream)
		var got []string
		for _, t := range s.Status.Tags {
			if t.Tag == tag {
				for _, e := range t.Items {
					got = append(got, e.Image)
				}
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(images), fmt.Sprintf("got %v, want %v; %+v", got, images, s.Status.Tags)
	})
}

func (h *house) setTags(namespace, stream string, tags ...imagev1.TagReference) {
	h.t.Helper()
	h.eventually("set tags", func() (bool, string) {
		var s imagev1.ImageStream
		h.get(&s, namespace, stream)
		s.Spec.Tags = tags
		err := h.c.Update(h.t.Context(), &s)
		return err == nil, fmt.Sprint(err)
	})
}

func stream(namespace, name string, tags ...imagev1.TagReference) *imagev1.ImageStream {
	return &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: imagev1.ImageStreamSpec{Tags: tags}}
}

func tagFrom(tag, kind, namespace, name string) imagev1.TagReference {
	return imagev1.TagReference{Name: tag, From: &corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}}
}

func TestAPushAdvancesTheStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := h.push("shop-dev/web", "latest", "c1")
	h.push("shop-dev/web", "latest", "c1")
	two := h.push("shop-dev/web", "latest", "c2")
	h.tagBecomes("shop-dev", "web", "latest", two, one)
	var s imagev1.ImageStream
	h.get(&s, "shop-dev", "web")
	if s.Status.DockerImageRepository != registry+"/shop-dev/web" {
		t.Errorf("repository %q", s.Status.DockerImageRepository)
	}
	if ref, _, _ := api.Resolve(&s, "latest"); ref != registry+"/shop-dev/web@"+two {
		t.Errorf("reference %q", ref)
	}
	var i imagev1.Image
	h.get(&i, "", two)
	labels, err := api.ImageLabels(&i)
	if err != nil || labels[api.LabelCommit] != "c2" || len(i.DockerImageLayers) != 1 {
		t.Errorf("image %+v, labels %v, %v", i, labels, err)
	}
	if err := h.sink.Pushed(t.Context(), image.Push{Repository: "nowhere/web", Tag: "x", Digest: one, Manifest: []byte("{}")}); !errors.Is(err, image.ErrNoProject) {
		t.Errorf("a push to a project that does not exist: %v", err)
	}
}

func TestTagsFollowCopyAndPin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := h.push("shop-dev/web", "latest", "c1")
	h.setTags("shop-dev", "web", tagFrom("stable", "ImageStreamTag", "", "latest"), tagFrom("alias", "ImageStreamTag", "", "web:stable"))
	h.create(stream("shop-prod", "web", tagFrom("copy", "ImageStreamTag", "shop-dev", "web:latest"), tagFrom("live", "ImageStreamImage", "shop-dev", "web@"+one)))
	h.tagBecomes("shop-prod", "web", "copy", one)
	h.tagBecomes("shop-prod", "web", "live", one)
	two := h.push("shop-dev/web", "latest", "c2")
	h.tagBecomes("shop-dev", "web", "alias", two, one)
	h.setTags("shop-prod", "web", tagFrom("copy", "ImageStreamTag", "shop-dev", "web:latest"), tagFrom("live", "ImageStreamImage", "shop-dev", "web@"+two))
	h.tagBecomes("shop-prod", "web", "live", two, one)
	// The other tag's source did not change: it stays where it was.
	h.tagBecomes("shop-prod", "web", "copy", one)
	// A revert goes back to the older image, as a new event.
	h.setTags("shop-prod", "web", tagFrom("live", "ImageStreamImage", "shop-dev", "web@"+one))
	h.tagBecomes("shop-prod", "web", "live", one, two, one)
	var s imagev1.ImageStream
	h.get(&s, "shop-prod", "web")
	if ref, _, _ := api.Resolve(&s, "live"); ref != registry+"/shop-dev/web@"+one {
		t.Errorf("an image of another project is pulled from %q", ref)
	}
	// What is not there yet is waited for, and said.
	later := digestOf("later")
	h.setTags("shop-prod", "web", tagFrom("live", "ImageStreamTag", "shop-dev", "other:latest"))
	h.eventually("condition", func() (bool, string) {
		h.get(&s, "shop-prod", "web")
		for _, tag := range s.Status.Tags {
			if tag.Tag == "live" && len(tag.Conditions) == 1 && tag.Conditions[0].Reason == "NotFound" && tag.Items[0].Image == one {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v, waiting for %s", s.Status.Tags, later)
	})
	three := h.push("shop-dev/other", "latest", "c3")
	h.tagBecomes("shop-prod", "web", "live", three, one, two, one)
}

func TestImageTriggersReachConfigs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.create(&appsv1.DeploymentConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "web"},
		Spec: appsv1.DeploymentConfigSpec{
			Selector: map[string]string{"app": "web"},
			Triggers: appsv1.DeploymentTriggerPolicies{{Type: appsv1.DeploymentTriggerOnImageChange, ImageChangeParams: &appsv1.DeploymentTriggerImageChangeParams{
				Automatic: true, ContainerNames: []string{"web"}, From: corev1.ObjectReference{Kind: "ImageStreamTag", Name: "web:latest"}}}},
			Template: &corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}},
			},
		},
	})
	for _, commit := range []string{"c1", "c2"} {
		want := registry + "/shop-dev/web@" + h.push("shop-dev/web", "latest", commit)
		h.eventually("the config's image", func() (bool, string) {
			var dc appsv1.DeploymentConfig
			h.get(&dc, "shop-dev", "web")
			got, last := dc.Spec.Template.Spec.Containers[0].Image, dc.Spec.Triggers[0].ImageChangeParams.LastTriggeredImage
			return got == want && last == want, fmt.Sprintf("image %q, last %q, want %q", got, last, want)
		})
	}
}

// outside serves one image by tag, behind a token, as an outside registry does.
func outside(t *testing.T) (host string, digest string) {
	config := `{"architecture":"` + runtime.GOARCH + `","config":{"Labels":{"vendor":"us"}}}`
	manifest := fmt.Sprintf(`{"config":{"digest":%q,"size":%d},"layers":[]}`, digestOf(config), len(config))
	index := fmt.Sprintf(`{"manifests":[{"digest":"sha256:0","platform":{"os":"plan9","architecture":"mips"}},{"digest":%q,"platform":{"os":"linux","architecture":%q}}]}`, digestOf(manifest), runtime.GOARCH)
	documents := map[string]string{"manifests/1": index, "manifests/" + digestOf(manifest): manifest, "blobs/" + digestOf(config): config}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "me" || password != "secret" || r.URL.Query().Get("scope") != "repository:base/os:pull" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"token":"let-me-in"}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer let-me-in" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="outside"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, ok := documents[strings.TrimPrefix(r.URL.Path, "/v2/base/os/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), digestOf(manifest)
}

func TestImport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	host, digest := outside(t)
	auth, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": "bWU6c2VjcmV0"}}})
	if err != nil {
		t.Fatal(err)
	}
	h.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-dev", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: auth}})
	insecure := func(tag imagev1.TagReference) imagev1.TagReference { tag.ImportPolicy.Insecure = true; return tag }
	recorded := tagFrom("recorded", "DockerImage", "", host+"/base/os:9")
	recorded.Reference = true
	local := insecure(tagFrom("local", "DockerImage", "", host+"/base/os:1"))
	local.ReferencePolicy.Type = imagev1.LocalTagReferencePolicy
	h.create(stream("shop-dev", "os", insecure(tagFrom("1", "DockerImage", "", host+"/base/os:1")), insecure(tagFrom("2", "DockerImage", "", host+"/base/os:2")), recorded, local))
	h.tagBecomes("shop-dev", "os", "1", digest)
	h.tagBecomes("shop-dev", "os", "recorded", "")
	h.tagBecomes("shop-dev", "os", "local", digest)
	var s imagev1.ImageStream
	h.get(&s, "shop-dev", "os")
	for tag, want := range map[string]string{"1": host + "/base/os@" + digest, "recorded": host + "/base/os:9", "local": registry + "/shop-dev/os@" + digest} {
		if ref, _, ok := api.Resolve(&s, tag); !ok || ref != want {
			t.Errorf("%s: %q, want %q", tag, ref, want)
		}
	}
	h.eventually("the failure", func() (bool, string) {
		h.get(&s, "shop-dev", "os")
		for _, tag := range s.Status.Tags {
			if tag.Tag == "2" && len(tag.Conditions) == 1 {
				c := tag.Conditions[0]
				return c.Type == imagev1.ImportSuccess && c.Status == corev1.ConditionFalse && c.Reason == "NotFound", fmt.Sprintf("%+v", c)
			}
		}
		return false, "no condition"
	})
	var i imagev1.Image
	h.get(&i, "", digest)
	if labels, err := api.ImageLabels(&i); err != nil || labels["vendor"] != "us" {
		t.Errorf("labels %v, %v", labels, err)
	}
}

func promotionObjects(h *house) {
	source := v1alpha1.SourceReference{Name: "app"}
	h.create(
		stream("shop-prod", "web"), stream("shop-prod", "api"),
		&v1alpha1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-prod", Name: "app"}, Spec: v1alpha1.GitRepositorySpec{URL: "https://git.example.com/app.git"}},
		&v1alpha1.Promotion{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-prod", Name: "shop"}, Spec: v1alpha1.PromotionSpec{
			From: "shop-dev", Streams: []string{"web", "api"}, On: v1alpha1.PromotionTrigger{SourceRef: source}, Write: v1alpha1.PromotionWrite{SourceRef: v1alpha1.SourceReference{Name: "config"}}}},
	)
}

func (h *house) tagGit(tags ...v1alpha1.GitTag) {
	h.t.Helper()
	h.eventually("git tags", func() (bool, string) {
		var r v1alpha1.GitRepository
		h.get(&r, "shop-prod", "app")
		r.Status.Tags = tags
		err := h.c.Status().Update(h.t.Context(), &r)
		return err == nil, fmt.Sprint(err)
	})
}

func (h *house) promotionBecomes(lastTag, reason string) v1alpha1.Promotion {
	h.t.Helper()
	var p v1alpha1.Promotion
	h.eventually("promotion", func() (bool, string) {
		h.get(&p, "shop-prod", "shop")
		got := ""
		if len(p.Status.Conditions) > 0 {
			got = p.Status.Conditions[0].Reason
		}
		return p.Status.LastTag == lastTag && got == reason, fmt.Sprintf("status %+v", p.Status)
	})
	return p
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	promotionObjects(h)
	h.promotionBecomes("", "NoTag")
	web := h.push("shop-dev/web", "latest", "c1")
	h.push("shop-dev/web", "latest", "c2")
	h.tagGit(v1alpha1.GitTag{Name: "v1.0", Commit: "c1"})
	if p := h.promotionBecomes("", "Waiting"); !strings.Contains(p.Status.Conditions[0].Message, "shop-dev/api") {
		t.Errorf("it waits for %q", p.Status.Conditions[0].Message)
	}
	if n := h.git.commits(); n != 0 {
		t.Fatalf("%d commits before all images were there", n)
	}
	backend := h.push("shop-dev/api", "latest", "c1")
	p := h.promotionBecomes("v1.0", "Promoted")
	if p.Status.LastTagCommit != "c1" || p.Status.Commit != h.git.run("rev-parse", "HEAD") || h.git.commits() != 1 {
		t.Errorf("status %+v, %d commits", p.Status, h.git.commits())
	}
	lock, err := image.ParseLock([]byte(h.git.run("show", "HEAD:projects/shop-prod/images.lock.json")))
	want := map[string]v1alpha1.LockedImage{
		"web:live": {From: "shop-dev/web", Digest: web, Commit: "c1", Tag: "v1.0"},
		"api:live": {From: "shop-dev/api", Digest: backend, Commit: "c1", Tag: "v1.0"},
	}
	if err != nil || fmt.Sprint(lock.Images) != fmt.Sprint(want) {
		t.Errorf("lock %v, %v, want %v", lock.Images, err, want)
	}
	message := h.git.run("log", "-1", "--format=%B")
	for _, line := range []string{"promote: shop v1.0 to shop-prod\n", "web:live: none -> " + web[:19], "Slipway-Promotion: shop-prod/shop", "Slipway-Tag: v1.0", "Slipway-From: c1"} {
		if !strings.Contains(message, line) {
			t.Errorf("message lacks %q:\n%s", line, message)
		}
	}

	// A revert stays in force: whatever wakes the promotion, v1.0 is not promoted again.
	h.git.run("revert", "--no-edit", "HEAD")
	h.push("shop-dev/web", "latest", "c3")
	h.push("shop-dev/api", "latest", "c3")
	h.tagGit(v1alpha1.GitTag{Name: "v1.0", Commit: "c1"}, v1alpha1.GitTag{Name: "v1.1", Commit: "c3"})
	h.promotionBecomes("v1.1", "Promoted")
	if n := h.git.commits(); n != 3 {
		t.Errorf("%d commits, want promotion, revert, promotion", n)
	}
}

// TestAHoldBindsPromotions: nothing is committed while an Application of the project holds
// the image; another image passes.
func TestAHoldBindsPromotions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	promotionObjects(h)
	web := h.push("shop-dev/web", "latest", "c1")
	h.push("shop-dev/api", "latest", "c1")
	h.create(&v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "shop-prod"},
		Spec:       v1alpha1.ApplicationSpec{Project: "shop-prod", Holds: []v1alpha1.Hold{{Digest: web, Reason: "leaks"}}},
	})
	h.tagGit(v1alpha1.GitTag{Name: "v1.0", Commit: "c1"})
	if p := h.promotionBecomes("", "Held"); !strings.Contains(p.Status.Conditions[0].Message, "application shop-prod: web:live would get the image") {
		t.Errorf("it says %q", p.Status.Conditions[0].Message)
	}
	if n := h.git.commits(); n != 0 {
		t.Errorf("%d commits of a held image", n)
	}
	h.push("shop-dev/web", "latest", "c2")
	h.push("shop-dev/api", "latest", "c2")
	h.tagGit(v1alpha1.GitTag{Name: "v1.1", Commit: "c2"})
	h.promotionBecomes("v1.1", "Promoted")
}

func TestAPromotionThatWasWrittenIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.push("shop-dev/web", "latest", "c1")
	h.push("shop-dev/api", "latest", "c1")
	promotionObjects(h)
	h.tagGit(v1alpha1.GitTag{Name: "v1.0", Commit: "c1"})
	h.promotionBecomes("v1.0", "Promoted")
	// The process died after the push and before the status: the status is as it was.
	h.eventually("forget", func() (bool, string) {
		var p v1alpha1.Promotion
		h.get(&p, "shop-prod", "shop")
		p.Status = v1alpha1.PromotionStatus{}
		err := h.c.Status().Update(t.Context(), &p)
		return err == nil, fmt.Sprint(err)
	})
	p := h.promotionBecomes("v1.0", "Promoted")
	if n := h.git.commits(); n != 1 || p.Status.Commit != h.git.run("rev-parse", "HEAD") {
		t.Errorf("%d commits, status %+v", n, p.Status)
	}
	// Somebody took the promotion back, and live state is lost: it is not promoted again.
	h.git.run("revert", "--no-edit", "HEAD")
	h.eventually("forget again", func() (bool, string) {
		var p v1alpha1.Promotion
		h.get(&p, "shop-prod", "shop")
		p.Status = v1alpha1.PromotionStatus{}
		err := h.c.Status().Update(t.Context(), &p)
		return err == nil, fmt.Sprint(err)
	})
	h.promotionBecomes("v1.0", "Promoted")
	if n := h.git.commits(); n != 2 {
		t.Errorf("%d commits, want the promotion and its revert", n)
	}
}

// repository is a git repository on disk that commits go to.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) *repository {
	r := &repository{t, t.TempDir()}
	r.run("init", "-q", "-b", "main")
	return r
}

func (r *repository) run(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Errorf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) commits() int {
	return strings.Count(r.run("log", "--all", "--format=tformat:x"), "x")
}

// Commit implements image.Committer.
func (r *repository) Commit(_ context.Context, req api.CommitRequest) (string, error) {
	if want := (client.ObjectKey{Namespace: "shop-prod", Name: "config"}); req.Repository != want {
		return "", fmt.Errorf("commit to %v, want %v", req.Repository, want)
	}
	// As sources does, a request with an ID is carried out once.
	id := "Slipway-Request: " + req.ID
	if req.ID == "" {
		return "", errors.New("a promotion has to be recognisable")
	}
	if r.commits() > 0 {
		if done := r.run("log", "--format=%H", "--fixed-strings", "--grep", id); done != "" {
			return done, nil
		}
	}
	changes, err := req.Changes(os.DirFS(r.dir))
	if err != nil {
		return "", err
	}
	if len(changes) == 0 {
		return r.run("rev-parse", "HEAD"), nil
	}
	for path, content := range changes {
		file := filepath.Join(r.dir, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
			return "", err
		}
	}
	r.run("add", "-A")
	message := req.Message + "\n"
	for _, t := range req.Trailers {
		message += t.Key + ": " + t.Value + "\n"
	}
	message += id + "\n"
	r.run("commit", "-q", "-m", message)
	return r.run("rev-parse", "HEAD"), nil
}
