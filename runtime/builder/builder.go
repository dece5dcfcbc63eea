package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/docker/docker/client"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// Sources fetches what is built.
type Sources interface {
	// Source is the tree that a ref, or a commit, of a repository holds. The secret may be nil.
	Source(ctx context.Context, url, ref, commit string, secret *corev1.Secret) (api.Revision, error)
}

// Docker is what a build asks of the engine.
type Docker interface {
	client.ContainerAPIClient
	client.ImageAPIClient
	client.NetworkAPIClient
}

// Events tells people what happened.
type Events interface {
	Event(o kube.Object, eventtype, reason, format string, args ...any)
}

// Registry is the integrated registry, as builders reach it.
type Registry struct {
	// Host is `address:port`, as in image references.
	Host           string
	User, Password string
}

// Options of a Builder.
type Options struct {
	// Node is the node's name; only builds bound to it run here.
	Node    string
	Client  kube.WithWatch
	Docker  Docker
	Sources Sources
	Events  Events
	Log     *slog.Logger
	// Dir keeps the logs of builds, and what runs; no two builders share one.
	Dir string
	// Registry is where builds may push to, each into its own project; its credentials
	// are shown to no other registry.
	Registry func() Registry
	// Pulls is told of every image that a build needs, around looking for it and pulling
	// it: who removes images has to know. Default: nobody is told.
	Pulls func(ctx context.Context, image string, pull func() error) error
	// Network that RUN steps and assemble scripts are given; default: the engine's own
	// bridge where it has one, else none.
	Network string
	// Parallel is how many builds run side by side; default 2.
	Parallel int
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Builder runs builds.
type Builder struct {
	Options

	// caches guards what the engine keeps of a configuration's builds: held shared by a
	// build, exclusively by who tidies up.
	caches locks
	// outputs is held while an image carries the name that it is pushed by.
	outputs locks
	sweep   chan loop.Key

	mu sync.Mutex
	// running are the builds that run now; guarded by mu.
	running map[types.NamespacedName]*run
}

// run is a build that runs now.
type run struct {
	stop context.CancelCauseFunc
	uid  types.UID
}

// New prepares a builder.
func New(o Options) *Builder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	b := &Builder{Options: o, running: map[types.NamespacedName]*run{}, sweep: make(chan loop.Key, 1)}
	b.sweep <- loop.Key{Name: o.Node}
	return b
}

// Controllers are the loops that run builds, that end the cancelled ones, and that
// remove, once, what an earlier process left behind.
func (b *Builder) Controllers() []loop.Controller {
	mine := func(o kube.Object) []loop.Key {
		if o.GetAnnotations()[api.NodeAnnotation] != b.Node {
			return nil
		}
		return []loop.Key{kube.ObjectKeyFromObject(o)}
	}
	watches := []loop.Watch{{List: &buildv1.BuildList{}, Keys: mine}}
	return []loop.Controller{
		{Name: "builder", Workers: b.Parallel, Watches: watches, Reconcile: b.reconcile},
		{Name: "build-cancel", Watches: watches, Reconcile: b.cancel},
		{Name: "build-sweep", Wake: b.sweep, Reconcile: b.sweepUp},
	}
}

var errCancelled = errors.New("the build was cancelled")

func (b *Builder) reconcile(process context.Context, key types.NamespacedName) (loop.Result, error) {
	// Known as running before it is read: a cancellation that comes after the read
	// finds it.
	ctx, cancel := context.WithCancelCause(process)
	defer cancel(nil)
	r := &run{stop: cancel}
	b.setRunning(key, r)
	defer b.setRunning(key, nil)

	build := &buildv1.Build{}
	err := b.Client.Get(ctx, key, build)
	switch {
	case apierrors.IsNotFound(err):
		return loop.Result{}, b.forget(process, key)
	case err != nil:
		return loop.Result{}, err
	}
	b.mu.Lock()
	r.uid = build.UID
	b.mu.Unlock()
	if p := build.Status.Phase; p != buildv1.BuildPhasePending && p != buildv1.BuildPhaseRunning || build.Annotations[api.NodeAnnotation] != b.Node {
		return loop.Result{}, nil
	}
	if build.Status.Cancelled {
		return loop.Result{}, b.finish(ctx, build, "", errCancelled)
	}
	if err := b.begin(ctx, build); err != nil {
		return loop.Result{}, err
	}
	digest, err := b.run(ctx, build)
	if process.Err() != nil {
		return loop.Result{}, process.Err() // the next process builds again
	}
	return loop.Result{}, b.finish(process, build, digest, err)
}

func (b *Builder) setRunning(key types.NamespacedName, r *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r == nil {
		delete(b.running, key)
		return
	}
	b.running[key] = r
}

// cancel ends a running build that was cancelled or deleted.
func (b *Builder) cancel(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
	build := &buildv1.Build{}
	err := b.Client.Get(ctx, key, build)
	if kube.IgnoreNotFound(err) != nil {
		return loop.Result{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.running[key]
	if r == nil {
		return loop.Result{}, nil
	}
	another := r.uid != "" && r.uid != build.UID
	if err != nil || another || build.Status.Cancelled || build.DeletionTimestamp != nil {
		r.stop(errCancelled)
	}
	return loop.Result{}, nil
}

// run builds and pushes; it ends early when the build is cancelled or its deadline passes.
func (b *Builder) run(ctx context.Context, build *buildv1.Build) (string, error) {
	if s := build.Spec.CompletionDeadlineSeconds; s != nil {
		late := fail(reasonDeadline, fmt.Errorf("took longer than spec.completionDeadlineSeconds: %d", *s))
		left := time.Duration(*s) * time.Second
		if start := build.Status.StartTimestamp; start != nil {
			left -= b.Now().Sub(start.Time)
		}
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, left, late)
		defer stop()
	}
	out, err := b.openLog(build)
	if err != nil {
		return "", err
	}
	defer out.Close()
	digest, err := b.steps(ctx, build, out)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		fmt.Fprintf(out, "error: %v\n", err)
	}
	return digest, err
}

func (b *Builder) steps(ctx context.Context, build *buildv1.Build, out *buildLog) (string, error) {
	job := &job{Builder: b, build: build, out: out}
	if err := job.claim(ctx); err != nil {
		return "", err
	}
	defer job.release()
	if err := job.fetch(ctx); err != nil {
		return "", err
	}
	defer job.discard()
	var err error
	switch s := build.Spec.Strategy; {
	case s.DockerStrategy != nil:
		err = job.dockerStrategy(ctx, s.DockerStrategy)
	case s.SourceStrategy != nil:
		err = job.sourceStrategy(ctx, s.SourceStrategy)
	default:
		err = fail(buildv1.StatusReasonGenericBuildFailed, fmt.Errorf("strategy %s is not supported; use Docker or Source", s.Type))
	}
	if err != nil {
		return "", err
	}
	if err := job.postCommit(ctx); err != nil {
		return "", err
	}
	return job.push(ctx)
}
