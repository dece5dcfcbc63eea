package deploy

import (
	"context"
	"log/slog"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Workers of each controller; default 4.
	Workers int
}

// Controllers are the two controllers of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Workers == 0 {
		d.Workers = 4
	}
	return []loop.Controller{
		{
			Name: "replicationcontroller",
			Watches: []loop.Watch{
				{List: &corev1.ReplicationControllerList{}},
				{List: &corev1.PodList{}, Keys: versionOfPod},
			},
			Workers:   d.Workers,
			Reconcile: settled(replication{d}.reconcile),
		},
		{
			Name: "deploymentconfig",
			Watches: []loop.Watch{
				{List: &appsv1.DeploymentConfigList{}},
				{List: &corev1.ReplicationControllerList{}, Keys: configOf},
				{List: &corev1.PodList{}, Keys: configOf},
			},
			Workers:   d.Workers,
			Reconcile: settled(configs{d, &watched{}}.reconcile),
		},
	}
}

// versionOfPod maps a pod to the ReplicationController that made it, or that may want it.
func versionOfPod(o client.Object) []loop.Key {
	for _, ref := range o.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			if ref.Kind != "ReplicationController" {
				return nil
			}
			return []loop.Key{{Namespace: o.GetNamespace(), Name: ref.Name}}
		}
	}
	if name := o.GetLabels()[labelDeployment]; name != "" {
		return []loop.Key{{Namespace: o.GetNamespace(), Name: name}}
	}
	return nil
}

// configOf maps a version, or a pod that a config's rollouts made, to the config.
func configOf(o client.Object) []loop.Key {
	if name := o.GetAnnotations()[appsv1.DeploymentConfigAnnotation]; name != "" {
		return []loop.Key{{Namespace: o.GetNamespace(), Name: name}}
	}
	return nil
}

// settled looks again soon where another writer was faster: that is no error.
func settled(reconcile func(context.Context, loop.Key) (loop.Result, error)) func(context.Context, loop.Key) (loop.Result, error) {
	return func(ctx context.Context, key loop.Key) (loop.Result, error) {
		res, err := reconcile(ctx, key)
		if apierrors.IsConflict(err) {
			return loop.Result{After: 5 * time.Millisecond}, nil
		}
		return res, err
	}
}
