package job

import (
	"context"
	"log/slog"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what the controllers need.
type Deps struct {
	Client client.Client
	Events Recorder
	// Log gets warnings; default: none are kept.
	Log *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Workers of each controller; default 4.
	Workers int
}

// Controllers are the two controllers of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Workers == 0 {
		d.Workers = 4
	}
	return []loop.Controller{
		{
			Name: "job",
			Watches: []loop.Watch{
				{List: &batchv1.JobList{}},
				{List: &corev1.PodList{}, Keys: ownedBy("Job")},
			},
			Workers:   d.Workers,
			Reconcile: settled(jobs{d}.reconcile),
		},
		{
			Name: "cronjob",
			Watches: []loop.Watch{
				{List: &batchv1.CronJobList{}},
				{List: &batchv1.JobList{}, Keys: ownedBy("CronJob")},
			},
			Workers:   d.Workers,
			Reconcile: settled(cronJobs{d}.reconcile),
		},
	}
}

// ownedBy maps an object to the controller that it belongs to, if that is of the kind.
func ownedBy(kind string) func(client.Object) []loop.Key {
	return func(o client.Object) []loop.Key {
		ref := metav1.GetControllerOf(o)
		if ref == nil || ref.Kind != kind {
			return nil
		}
		return []loop.Key{{Namespace: o.GetNamespace(), Name: ref.Name}}
	}
}

type reconcile = func(context.Context, loop.Key) (loop.Result, error)

// settled looks again soon where another writer was faster: that is no error.
func settled(f reconcile) reconcile {
	return func(ctx context.Context, key loop.Key) (loop.Result, error) {
		res, err := f(ctx, key)
		if apierrors.IsConflict(err) {
			return loop.Result{After: 10 * time.Millisecond}, nil
		}
		return res, err
	}
}

// note is an event that a decision wants told.
type note struct {
	eventtype, reason, message string
}

// sooner is the earlier of two times to look again, of which zero is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
