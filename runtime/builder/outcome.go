package builder

import (
	"context"
	"errors"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

// reasonDeadline is why a build failed that took too long; Kubernetes' word for pods.
const reasonDeadline buildv1.StatusReason = "DeadlineExceeded"

// failure is a build that ended badly, and why.
type failure struct {
	reason buildv1.StatusReason
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail gives an error a reason, unless it has one of its own.
func fail(reason buildv1.StatusReason, err error) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	return &failure{reason, err}
}

// begin says that a build runs. One that runs already was begun by a process that died.
func (b *Builder) begin(ctx context.Context, build *buildv1.Build) error {
	if build.Status.Phase == buildv1.BuildPhaseRunning {
		return nil
	}
	now := metav1.NewTime(b.Now())
	build.Status.Phase, build.Status.StartTimestamp = buildv1.BuildPhaseRunning, &now
	if err := b.Client.Status().Update(ctx, build); err != nil {
		return err
	}
	b.Events.Event(build, corev1.EventTypeNormal, "BuildStarted", "runs on %s", b.Node)
	return nil
}

// finish writes the outcome, on top of whatever else changed meanwhile.
func (b *Builder) finish(ctx context.Context, build *buildv1.Build, digest string, failed error) error {
	key := kube.ObjectKeyFromObject(build)
	snippet := b.snippet(build)
	var now *buildv1.Build
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now = &buildv1.Build{}
		if err := b.Client.Get(ctx, key, now); err != nil {
			return err
		}
		if now.UID != build.UID || now.Status.CompletionTimestamp != nil {
			now = nil
			return nil
		}
		outcome(now, digest, failed, b.Now())
		now.Status.LogSnippet = snippet
		return b.Client.Status().Update(ctx, now)
	})
	if err != nil || now == nil {
		return kube.IgnoreNotFound(err)
	}
	switch {
	case failed != nil:
		b.Events.Event(now, corev1.EventTypeWarning, "Build"+string(now.Status.Phase), "%s: %s", now.Status.Reason, now.Status.Message)
	case digest == "":
		b.Events.Event(now, corev1.EventTypeNormal, "BuildCompleted", "built; there is no output to push to")
	default:
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
		s.Phase, s.Reason, s.Message, s.Cancelled = buildv1.BuildPhaseComplete, "", "", false
		if digest != "" {
			s.Output.To = &buildv1.BuildStatusOutputTo{ImageDigest: digest}
		}
	case errors.Is(failed, errCancelled):
		s.Phase, s.Reason, s.Message, s.Cancelled = buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, failed.Error(), true
	case errors.As(failed, &f):
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseFailed, f.reason, f.Error()
	default:
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseError, buildv1.StatusReasonError, failed.Error()
	}
}
