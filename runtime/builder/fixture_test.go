package builder_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime/builder"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

const patience = 2 * time.Minute

// site is a node's builder on a real engine and a live state of its own.
type site struct {
	t        *testing.T
	client   kube.WithWatch
	docker   engine.Docker
	registry string
	base     string
	project  string
	dir      string
	sources  trees
	builder  *builder.Builder
	stop     func()
}

// trees is a source of trees by URL.
type trees struct {
	mu *sync.Mutex
	m  map[string]fs.FS
}

const commit = "0123456789abcdef0123456789abcdef01234567"

func (s trees) Source(_ context.Context, url, ref, _ string, _ *corev1.Secret) (api.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := s.m[url]
	if tree == nil {
		return api.Revision{}, fmt.Errorf("no repository at %s", url)
	}
	return api.Revision{URL: url, Branch: ref, Commit: commit, Author: "Ann <ann@example.com>", Message: "first\n\nbody", When: time.Unix(1_700_000_000, 0).UTC(), Tree: tree}, nil
}

type silent struct{}

func (silent) Event(kube.Object, string, string, string, ...any) {}

func newSite(t *testing.T) *site {
	t.Helper()
	docker := enginetest.Client(t)
	s := &site{
		t: t, client: statetest.New(t), docker: docker, registry: startRegistry(t), base: enginetest.Busybox(t, docker),
		project: "p" + strings.ToLower(rand.Text()[:10]), dir: t.TempDir(), sources: trees{&sync.Mutex{}, map[string]fs.FS{}},
	}
	t.Cleanup(s.leavesNothing)
	s.start()
	return s
}

// start runs a builder, as a new process would.
func (s *site) start() {
	s.builder = builder.New(builder.Options{
		Node: "n1", Client: s.client, Docker: s.docker, Sources: s.sources, Events: silent{}, Dir: s.dir,
		Log:      slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		Registry: func() builder.Registry { return builder.Registry{Host: s.registry} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, s.client, slog.New(slog.DiscardHandler), s.builder.Controllers()...)
	}()
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(func() { s.stop() })
}

// leavesNothing removes the caches, as the end of the configurations does, and then
// looks for what is left.
func (s *site) leavesNothing() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var builds buildv1.BuildList
	if err := s.client.List(ctx, &builds); err != nil {
		s.t.Error(err)
	}
	for i := range builds.Items {
		if err := s.client.Delete(ctx, &builds.Items[i]); err != nil {
			s.t.Error(err)
		}
	}
	s.start()
	defer func() { s.stop() }()
	var left string
	for range 300 {
		if left = s.left(ctx); left == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Errorf("left behind: %s", left)
}

func (s *site) left(ctx context.Context) string {
	var out []string
	for label, values := range map[string][]string{"slipway.dev/build": s.names(), "slipway.dev/build-config": {s.project + "/app", s.project + "/other"}} {
		for _, v := range values {
			list, err := s.docker.ImageList(ctx, image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label+"="+v))})
			if err != nil {
				s.t.Fatal(err)
			}
			for _, i := range list {
				out = append(out, fmt.Sprint("image ", i.ID, i.RepoTags))
			}
		}
	}
	tagged, err := s.docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", s.registry+"/*/*"))})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range tagged {
		out = append(out, fmt.Sprint("name ", i.RepoTags, i.RepoDigests))
	}
	logs, _ := filepath.Glob(filepath.Join(s.dir, "*", "*", "*"))
	marks, _ := filepath.Glob(filepath.Join(s.dir, "running", "*"))
	return strings.Join(append(append(out, logs...), marks...), "\n")
}

func (s *site) names() []string {
	var out []string
	for _, c := range []string{"app", "other"} {
		for n := 1; n < 6; n++ {
			out = append(out, fmt.Sprintf("%s/%s-%d", s.project, c, n))
		}
	}
	return out
}

// containers of a build, running or not.
func (s *site) containers(b *buildv1.Build) []container.Summary {
	list, err := s.docker.ContainerList(s.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", string(b.UID)))})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// source makes a repository and is its part of a build's spec.
func (s *site) source(files map[string]string) buildv1.BuildSource {
	tree := fstest.MapFS{}
	for name, data := range files {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(data, "#!") {
			mode = 0o755
		}
		tree[name] = &fstest.MapFile{Data: []byte(data), Mode: mode}
	}
	url := "https://git.example.com/" + rand.Text() + ".git"
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	s.sources.m[url] = tree
	return buildv1.BuildSource{Git: &buildv1.GitBuildSource{URI: url, Ref: "main"}}
}

func (s *site) dockerStrategy() buildv1.BuildStrategy {
	return buildv1.BuildStrategy{DockerStrategy: &buildv1.DockerBuildStrategy{From: &corev1.ObjectReference{Kind: "DockerImage", Name: s.base}}}
}

func (s *site) sourceStrategy(image string) buildv1.BuildStrategy {
	return buildv1.BuildStrategy{SourceStrategy: &buildv1.SourceBuildStrategy{From: corev1.ObjectReference{Kind: "DockerImage", Name: image}}}
}

// pending makes a build that waits for this node's builder; its output is the tag
// `out:latest` of its project.
func (s *site) pending(name string, spec buildv1.CommonSpec) *buildv1.Build {
	s.t.Helper()
	b := &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.project, Name: name, Annotations: map[string]string{api.NodeAnnotation: "n1"}},
		Spec:       buildv1.BuildSpec{CommonSpec: spec},
		Status:     buildv1.BuildStatus{Phase: buildv1.BuildPhasePending, OutputDockerImageReference: s.registry + "/" + s.project + "/out:latest"},
	}
	if err := s.client.Create(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *site) until(b *buildv1.Build, what string, ok func(*buildv1.Build) bool) *buildv1.Build {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now := &buildv1.Build{}
		if err := s.client.Get(s.t.Context(), kube.ObjectKeyFromObject(b), now); err != nil {
			s.t.Fatal(err)
		}
		if ok(now) {
			return now
		}
		b = now
	}
	s.t.Fatalf("%s: no %s after %s: %+v\n%s", b.Name, what, patience, b.Status, s.log(b))
	return nil
}

// ended waits for a build's end and wants this phase and reason.
func (s *site) ended(b *buildv1.Build, phase buildv1.BuildPhase, reason buildv1.StatusReason) *buildv1.Build {
	s.t.Helper()
	now := s.until(b, "end", func(b *buildv1.Build) bool { return b.Status.CompletionTimestamp != nil })
	if now.Status.Phase != phase || now.Status.Reason != reason {
		s.t.Fatalf("%s: %s %s (%s), want %s %s\n%s", b.Name, now.Status.Phase, now.Status.Reason, now.Status.Message, phase, reason, s.log(b))
	}
	if c := s.containers(b); len(c) > 0 {
		s.t.Errorf("%s: containers left: %v", b.Name, c)
	}
	return now
}

func (s *site) log(b *buildv1.Build) string {
	r, err := s.builder.Logs(s.t.Context(), kube.ObjectKeyFromObject(b), false)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	data, _ := io.ReadAll(r)
	return string(data)
}

// pushed pulls what a build pushed, by digest, and says how it is configured and what it
// prints when it runs.
func (s *site) pushed(b *buildv1.Build, cmd ...string) (image.InspectResponse, string) {
	s.t.Helper()
	if b.Status.Output.To == nil {
		s.t.Fatalf("%s has no digest", b.Name)
	}
	ref := fmt.Sprintf("%s/%s/out@%s", s.registry, s.project, b.Status.Output.To.ImageDigest)
	body, err := s.docker.ImagePull(s.t.Context(), ref, image.PullOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, body)
	body.Close()
	info, err := s.docker.ImageInspect(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{"run", "--rm", "--network", "none", ref}, cmd...)
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		s.t.Errorf("run: %v: %s", err, out)
	}
	if _, err := s.docker.ImageRemove(s.t.Context(), ref, image.RemoveOptions{}); err != nil {
		s.t.Error(err)
	}
	return info, string(out)
}

// tags of a repository of the project.
func (s *site) tags(repository string) string {
	s.t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/v2/%s/%s/tags/list", s.registry, s.project, repository))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

func (s *site) exec(id string, cmd ...string) (string, error) {
	out, err := exec.Command("docker", append([]string{"exec", id}, cmd...)...).CombinedOutput()
	return string(out), err
}

// update changes a build's status.
func (s *site) update(b *buildv1.Build, change func(*buildv1.Build)) {
	s.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := &buildv1.Build{}
		if err := s.client.Get(s.t.Context(), kube.ObjectKeyFromObject(b), now); err != nil {
			return err
		}
		change(now)
		return s.client.Status().Update(s.t.Context(), now)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// builderImage commits an image on top of base; it is removed at the test's end.
func (s *site) builderImage(files map[string]string, config *container.Config) string {
	s.t.Helper()
	created, err := s.docker.ContainerCreate(s.t.Context(), &container.Config{Image: s.base, Cmd: []string{"/bin/true"}}, nil, nil, nil, "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		_ = s.docker.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true})
	}()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, data := range files {
		if strings.HasSuffix(name, "/") {
			_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o777})
			continue
		}
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))})
		_, _ = io.WriteString(w, data)
	}
	w.Close()
	if err := s.docker.CopyToContainer(s.t.Context(), created.ID, "/", &buf, container.CopyToContainerOptions{}); err != nil {
		s.t.Fatal(err)
	}
	ref := "slipway-test/builder:" + rand.Text()
	if _, err := s.docker.ContainerCommit(s.t.Context(), created.ID, container.CommitOptions{Reference: ref, Config: config}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if _, err := s.docker.ImageRemove(context.Background(), ref, image.RemoveOptions{}); err != nil {
			s.t.Error(err)
		}
	})
	return ref
}
