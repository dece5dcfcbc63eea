package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/bench/workload"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/reconciler/deploy"
	"slipway.dev/slipway/reconciler/project"
	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/sources"
	"slipway.dev/slipway/sources/gitserver"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
)

// home is the project of Slipway's own objects.
const home = "slipway"

// repository is the one that everything follows.
var repository = types.NamespacedName{Namespace: home, Name: "root"}

// system is Slipway in this process, wired as `slipway up` wires it, as far as no node is
// needed: sources, render, reconciler, and the controllers of workloads and services, on
// live state that waits for the disk at every write.
type system struct {
	client     *state.Client
	sources    *sources.Sources
	renderer   *render.Renderer
	reconciler *reconciler.Reconciler
	git        *gitRepository
	closers    []func()
	deciding   []loop.Controller
}

type renderer struct{ *render.Renderer }

func (r renderer) Render(ctx context.Context, x reconciler.Rendering) (api.Desired, error) {
	return r.Renderer.Render(ctx, render.Request(x))
}

// applier is live state that applies many objects at once.
type applier struct{ *state.Client }

func (a applier) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Applied {
	results := a.Client.ApplyMany(ctx, objects, o)
	out := make([]reconciler.Applied, len(results))
	for i, r := range results {
		out[i] = reconciler.Applied(r)
	}
	return out
}

func (a applier) Prepare(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []reconciler.Prepared {
	out := make([]reconciler.Prepared, len(objects))
	for i, p := range a.Client.Prepare(ctx, objects, o) {
		out[i] = reconciler.Prepared{Before: p.Before, Changed: p.Changed, Err: p.Err, After: p.After, Handle: p}
	}
	return out
}

func (a applier) Commit(ctx context.Context, handles []any) []reconciler.Committed {
	prepared := make([]*state.Prepared, len(handles))
	for i, h := range handles {
		prepared[i], _ = h.(*state.Prepared)
	}
	out := make([]reconciler.Committed, len(handles))
	for i, r := range a.Client.Commit(ctx, prepared) {
		out[i] = reconciler.Committed(r)
	}
	return out
}

// controllers say what runs beside sources and reconciler.
type controllers int

const (
	// gitOnly is what a peer is compared with that has no controllers beside it either.
	gitOnly controllers = iota
	// workloads are the controllers of workloads, projects and services.
	workloads
)

// openSystem makes a repository of files, and a Slipway that follows it.
func openSystem(ctx context.Context, dir string, files map[string]string, with controllers) (*system, error) {
	s := &system{}
	var err error
	if s.git, err = newGitRepository(filepath.Join(dir, "git"), files); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.git.close)
	log := quiet()
	store, err := state.Open(ctx, state.Options{
		DataDir: filepath.Join(dir, "state"), Log: log,
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate,
	})
	if err != nil {
		s.close()
		return nil, err
	}
	s.closers = append(s.closers, func() { store.Close() })
	s.client = store.Client()
	mirrors, err := sources.NewMirrors(filepath.Join(dir, "mirrors"), sources.Options{})
	if err != nil {
		s.close()
		return nil, err
	}
	s.closers = append(s.closers, func() { _ = mirrors.Close() })
	events := event.New(s.client, "slipway", log)
	s.sources = sources.New(sources.Deps{Client: s.client, Mirrors: mirrors, Events: events, Log: log})
	s.renderer = render.New(render.Options{Ledger: ledger.Ledger{Client: s.client}, Log: log})
	s.closers = append(s.closers, s.renderer.Close)
	s.reconciler = &reconciler.Reconciler{Client: s.client, Sources: s.sources, Render: renderer{s.renderer}, Events: events, Log: log,
		Registry: "127.0.0.1:5000", Applier: applier{s.client}, History: s.sources}
	s.deciding = append(s.sources.Controllers(), s.reconciler.Controllers()...)
	if with == workloads {
		s.deciding = append(s.deciding, deploy.Controllers(deploy.Deps{Client: s.client, Events: events, Log: log})...)
		s.deciding = append(s.deciding, project.Controllers(project.Deps{Client: s.client, Events: events, Log: log})...)
		s.deciding = append(s.deciding, service.Controllers(service.Deps{Client: s.client, Events: events, Log: log, Network: netip.MustParsePrefix("172.30.0.0/16")})...)
	}
	if err := s.furnish(ctx); err != nil {
		s.close()
		return nil, err
	}
	s.run(ctx)
	if err := s.source(ctx, s.git.head); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// run starts the controllers; close ends them.
func (s *system) run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, s.client, quiet(), s.deciding...) })
	s.closers = append(s.closers, func() { stop(); wg.Wait() })
}

func (s *system) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.closers = nil
}

func (s *system) furnish(ctx context.Context) error {
	for _, o := range []client.Object{
		&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: home}},
		&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: workload.Namespace}},
		&v1alpha1.GitRepository{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: repository.Name},
			Spec: v1alpha1.GitRepositorySpec{
				URL: s.git.url, Reference: &v1alpha1.GitRepositoryRef{Branch: "main"}, Interval: &metav1.Duration{Duration: time.Hour},
			},
		},
	} {
		if err := s.client.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// source waits until live state knows a commit.
func (s *system) source(ctx context.Context, commit string) error {
	return await(ctx, s.client, &v1alpha1.GitRepositoryList{}, home, func(o client.Object) bool {
		r, ok := o.(*v1alpha1.GitRepository)
		return ok && r.Status.Artifact != nil && r.Status.Artifact.Commit == commit
	}, 1)
}

// application is an Application of the repository's folder.
func application(name, path string) *v1alpha1.Application {
	return &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name},
		Spec: v1alpha1.ApplicationSpec{
			SourceRef: v1alpha1.SourceReference{Name: repository.Name}, Path: path, Project: workload.Namespace,
			Interval: &metav1.Duration{Duration: time.Hour},
		},
	}
}

// applications makes the Applications of the first n folders and waits until they are ready.
func (s *system) applications(ctx context.Context, n int) error {
	for i := range n {
		if err := s.client.Create(ctx, application(workload.App(i), workload.Folder(i))); err != nil {
			return err
		}
	}
	return s.ready(ctx, s.git.head, n)
}

// applied waits until n Applications say that a commit is applied and durable.
func (s *system) applied(ctx context.Context, commit string, n int) error {
	return await(ctx, s.client, &v1alpha1.ApplicationList{}, home, func(o client.Object) bool { return isApplied(o, commit) }, n)
}

func isApplied(o client.Object, commit string) bool {
	app, ok := o.(*v1alpha1.Application)
	return ok && app.Status.LastAppliedCommit == commit
}

// ready waits until n Applications are ready at a commit.
func (s *system) ready(ctx context.Context, commit string, n int) error {
	return await(ctx, s.client, &v1alpha1.ApplicationList{}, home, func(o client.Object) bool { return isReady(o, commit) }, n)
}

func isReady(o client.Object, commit string) bool {
	app, ok := o.(*v1alpha1.Application)
	if !ok || commit != "" && app.Status.LastAppliedCommit != commit {
		return false
	}
	for _, c := range app.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == metav1.ConditionTrue && c.ObservedGeneration == app.Generation
		}
	}
	return false
}

// patience bounds every wait.
var patience = 10 * time.Minute

// await follows a list until n objects are as wanted.
func await(ctx context.Context, c client.WithWatch, list client.ObjectList, namespace string, wanted func(client.Object) bool, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	done := map[types.NamespacedName]bool{}
	var last client.Object
	events, err := c.Watch(ctx, list, client.InNamespace(namespace))
	if err != nil {
		return err
	}
	defer events.Stop()
	for len(done) < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %T after %.0f s, last %v: %w", len(done), n, list, time.Since(began).Seconds(), status(last), ctx.Err())
		case ev, ok := <-events.ResultChan():
			if !ok || ev.Type == watch.Error {
				return errors.New("the watch ended")
			}
			o, isObject := ev.Object.(client.Object)
			if !isObject || ev.Type == watch.Bookmark {
				continue
			}
			if last = o; wanted(o) {
				done[client.ObjectKeyFromObject(o)] = true
			} else {
				delete(done, client.ObjectKeyFromObject(o))
			}
		}
	}
	return nil
}

func status(o client.Object) any {
	if app, ok := o.(*v1alpha1.Application); ok {
		return app.Status.Conditions
	}
	if repo, ok := o.(*v1alpha1.GitRepository); ok {
		return repo.Status.Conditions
	}
	return nil
}

// gitRepository is a bare repository behind git's own HTTP server, and a clone to push from.
type gitRepository struct {
	bare, work, url string
	head            string
	server          *http.Server
}

func newGitRepository(dir string, files map[string]string) (*gitRepository, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	handler, err := gitserver.New(gitserver.Options{Root: dir})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gitRepository{work: filepath.Join(dir, "work"), url: "http://" + l.Addr().String() + "/bench.git", server: &http.Server{Handler: handler}}
	go g.server.Serve(l)
	if g.bare, err = gitserver.Init(gitserver.Repository{Root: dir, Name: "bench", CloneURL: g.url}); err != nil {
		g.close()
		return nil, err
	}
	if _, err := git(dir, "clone", "--quiet", g.bare, g.work); err != nil {
		g.close()
		return nil, err
	}
	if _, err := git(g.work, "symbolic-ref", "HEAD", "refs/heads/main"); err != nil {
		g.close()
		return nil, err
	}
	if err := g.push("begin", files); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gitRepository) close() { g.server.Close() }

// push commits files and pushes the branch.
func (g *gitRepository) push(message string, files map[string]string) error {
	if err := workload.Write(g.work, files); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"add", "-A"}, {"commit", "--quiet", "--allow-empty", "-m", message}, {"push", "--quiet", "origin", "HEAD"},
	} {
		if _, err := git(g.work, args...); err != nil {
			return err
		}
	}
	head, err := git(g.work, "rev-parse", "HEAD")
	g.head = head
	return err
}

// git runs git away from the settings of whoever runs this.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Bench", "GIT_AUTHOR_EMAIL=bench@example.com", "GIT_COMMITTER_NAME=Bench", "GIT_COMMITTER_EMAIL=bench@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, last(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}
