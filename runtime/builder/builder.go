package builder

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"time"

	"github.com/docker/docker/client"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// NodeAnnotation binds a build to the node whose builder runs it.
const NodeAnnotation = "slipway.dev/node"

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

// Options of a Builder.
type Options struct {
	// Node is the node's name; only builds bound to it run here.
	Node    string
	Client  kube.WithWatch
	Docker  Docker
	Sources Sources
	Events  Events
	Log     *slog.Logger
	// Dir keeps the logs of builds.
	Dir string
	// Registry is the user and password that pushes are made with.
	Registry func() (user, password string)
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

	mu sync.Mutex
	// running cancels the builds that run now; guarded by mu.
	running map[types.UID]context.CancelCauseFunc
}

// New prepares a builder.
func New(o Options) *Builder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	return &Builder{Options: o, running: map[types.UID]context.CancelCauseFunc{}}
}

// Controllers are the loops that run builds and that end the cancelled ones.
func (b *Builder) Controllers() []loop.Controller {
	mine := func(o kube.Object) []loop.Key {
		if o.GetAnnotations()[NodeAnnotation] != b.Node {
			return nil
		}
		return []loop.Key{kube.ObjectKeyFromObject(o)}
	}
	watches := []loop.Watch{{List: &buildv1.BuildList{}, Keys: mine}}
	return []loop.Controller{
		{Name: "builder", Workers: b.Parallel, Watches: watches, Reconcile: b.reconcile},
		{Name: "build-cancel", Watches: watches, Reconcile: b.cancel},
	}
}

// failure is a build that ended badly, and why.
type failure struct {
	reason buildv1.StatusReason
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(reason buildv1.StatusReason, err error) error {
	if err == nil {
		return nil
	}
	return &failure{reason, err}
}

var errCancelled = errors.New("the build was cancelled")

func (b *Builder) reconcile(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
	build := &buildv1.Build{}
	if err := b.Client.Get(ctx, key, build); err != nil {
		return loop.Result{}, kube.IgnoreNotFound(err)
	}
	if p := build.Status.Phase; p != buildv1.BuildPhasePending && p != buildv1.BuildPhaseRunning {
		return loop.Result{}, nil
	}
	if build.Status.Cancelled {
		return loop.Result{}, b.finish(ctx, build, "", errCancelled)
	}
	if err := b.begin(ctx, build); err != nil {
		return loop.Result{}, err
	}
	digest, err := b.run(ctx, build)
	if ctx.Err() != nil {
		return loop.Result{}, ctx.Err()
	}
	return loop.Result{}, b.finish(ctx, build, digest, err)
}

// run builds and pushes; it ends early when the build is cancelled or its deadline passes.
func (b *Builder) run(ctx context.Context, build *buildv1.Build) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s := build.Spec.CompletionDeadlineSeconds; s != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, time.Duration(*s)*time.Second, fmt.Errorf("took longer than its deadline of %d s", *s))
		defer stop()
	}
	b.mu.Lock()
	b.running[build.UID] = cancel
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.running, build.UID)
		b.mu.Unlock()
	}()
	out, err := b.openLog(build)
	if err != nil {
		return "", err
	}
	defer out.Close()
	digest, err := b.steps(ctx, build, out)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		fmt.Fprintf(out, "error: %v\n", err)
	}
	return digest, err
}

func (b *Builder) steps(ctx context.Context, build *buildv1.Build, out *buildLog) (string, error) {
	job := &job{Builder: b, build: build, out: out}
	if err := job.fetch(ctx); err != nil {
		return "", err
	}
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
	defer job.discard()
	if err := job.postCommit(ctx); err != nil {
		return "", err
	}
	return job.push(ctx)
}

// job is one run of one build.
type job struct {
	*Builder
	build *buildv1.Build
	out   *buildLog
	rev   api.Revision
	// tree is the part of the source that is built.
	tree fs.FS
	// image is what the strategy made.
	image string
}

// fetch gets the source and writes the commit into the build.
func (j *job) fetch(ctx context.Context) error {
	src := j.build.Spec.Source
	if src.Git == nil {
		j.tree = embed.FS{}
		return nil
	}
	var commit string
	if r := j.build.Spec.Revision; r != nil && r.Git != nil {
		commit = r.Git.Commit
	}
	var secret *corev1.Secret
	if src.SourceSecret != nil {
		secret = &corev1.Secret{}
		if err := j.Client.Get(ctx, types.NamespacedName{Namespace: j.build.Namespace, Name: src.SourceSecret.Name}, secret); err != nil {
			return fail(buildv1.StatusReasonFetchSourceFailed, err)
		}
	}
	rev, err := j.Sources.Source(ctx, src.Git.URI, src.Git.Ref, commit, secret)
	if err != nil {
		return fail(buildv1.StatusReasonFetchSourceFailed, fmt.Errorf("fetch %s: %w", src.Git.URI, err))
	}
	fmt.Fprintf(j.out, "source %s at %s: %s\n", src.Git.URI, rev.Commit, firstLine(rev.Message))
	j.rev, j.tree = rev, rev.Tree
	if src.ContextDir != "" && path.Clean(src.ContextDir) != "." {
		dir := path.Clean(src.ContextDir)
		if info, err := fs.Stat(rev.Tree, dir); err != nil || !info.IsDir() {
			return fail(buildv1.StatusReasonInvalidContextDirectory, fmt.Errorf("spec.source.contextDir: no folder %q at %s", src.ContextDir, rev.Commit))
		}
		if j.tree, err = fs.Sub(rev.Tree, dir); err != nil {
			return fail(buildv1.StatusReasonInvalidContextDirectory, err)
		}
	}
	return j.noteRevision(ctx)
}

func (j *job) noteRevision(ctx context.Context) error {
	rev := &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{
		Commit: j.rev.Commit, Message: firstLine(j.rev.Message), Author: buildv1.SourceControlUser{Name: j.rev.Author},
	}}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now := &buildv1.Build{}
		if err := j.Client.Get(ctx, kube.ObjectKeyFromObject(j.build), now); err != nil {
			return err
		}
		if now.Spec.Revision != nil && now.Spec.Revision.Git != nil && now.Spec.Revision.Git.Commit == j.rev.Commit && now.Spec.Revision.Git.Author.Name != "" {
			j.build = now
			return nil
		}
		now.Spec.Revision = rev
		if err := j.Client.Update(ctx, now); err != nil {
			return err
		}
		j.build = now
		return nil
	})
}

// cancel ends a running build that was cancelled or deleted.
func (b *Builder) cancel(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
	build := &buildv1.Build{}
	if err := b.Client.Get(ctx, key, build); err != nil {
		return loop.Result{}, kube.IgnoreNotFound(err)
	}
	b.mu.Lock()
	stop := b.running[build.UID]
	b.mu.Unlock()
	if stop != nil && (build.Status.Cancelled || build.DeletionTimestamp != nil) {
		stop(errCancelled)
	}
	return loop.Result{}, nil
}

func (b *Builder) begin(ctx context.Context, build *buildv1.Build) error {
	if build.Status.Phase == buildv1.BuildPhaseRunning {
		return nil
	}
	now := metav1.NewTime(b.Now())
	build.Status.Phase, build.Status.StartTimestamp = buildv1.BuildPhaseRunning, &now
	b.Events.Event(build, corev1.EventTypeNormal, "BuildStarted", "runs on %s", b.Node)
	return b.Client.Status().Update(ctx, build)
}

// finish writes the outcome, on top of whatever else changed meanwhile.
func (b *Builder) finish(ctx context.Context, build *buildv1.Build, digest string, failed error) error {
	key := kube.ObjectKeyFromObject(build)
	var now *buildv1.Build
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now = &buildv1.Build{}
		if err := b.Client.Get(ctx, key, now); err != nil {
			return kube.IgnoreNotFound(err)
		}
		outcome(now, digest, failed, b.Now())
		now.Status.LogSnippet = b.snippet(now)
		return b.Client.Status().Update(ctx, now)
	})
	if err != nil || now.Name == "" {
		return err
	}
	if failed != nil {
		b.Events.Event(now, corev1.EventTypeWarning, "Build"+string(now.Status.Phase), "%s: %s", now.Status.Reason, now.Status.Message)
	} else {
		b.Events.Event(now, corev1.EventTypeNormal, "BuildCompleted", "pushed %s@%s", now.Status.OutputDockerImageReference, digest)
	}
	return nil
}

// outcome sets the terminal phase of a build.
func outcome(build *buildv1.Build, digest string, failed error, at time.Time) {
	s := &build.Status
	now := metav1.NewTime(at)
	s.CompletionTimestamp = &now
	if s.StartTimestamp != nil {
		s.Duration = at.Sub(s.StartTimestamp.Time)
	}
	var f *failure
	switch {
	case failed == nil:
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseComplete, "", ""
		s.Output.To = &buildv1.BuildStatusOutputTo{ImageDigest: digest}
	case errors.Is(failed, errCancelled):
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, failed.Error()
	case errors.As(failed, &f):
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseFailed, f.reason, f.Error()
	default:
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseError, buildv1.StatusReasonError, failed.Error()
	}
}
