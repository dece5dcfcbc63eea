package workload

import (
	"context"
	"log/slog"
	"strings"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

// Deps is what the controllers need.
type Deps struct {
	Client client.Client
	Events pods.Recorder
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Workers of each controller; default 4.
	Workers int
}

// Controllers are the controllers of this package.
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
	seen := &everywhere{sets: map[loop.Key]bool{}, nodes: map[string]uint64{}}
	return []loop.Controller{
		{
			Name: "replicaset",
			Watches: []loop.Watch{
				{List: &appsv1.ReplicaSetList{}},
				{List: &corev1.PodList{}, Keys: ownedBy("ReplicaSet")},
			},
			Workers:   d.Workers,
			Reconcile: settled(replicaSets{d}.reconcile),
		},
		{
			Name: "deployment",
			Watches: []loop.Watch{
				{List: &appsv1.DeploymentList{}},
				{List: &appsv1.ReplicaSetList{}, Keys: ownedBy("Deployment")},
				{List: &corev1.PodList{}, Keys: deploymentOf},
			},
			Workers:   d.Workers,
			Reconcile: settled(repeated(deployments{d}.pass)),
		},
		{
			Name: "statefulset",
			Watches: []loop.Watch{
				{List: &appsv1.StatefulSetList{}},
				{List: &corev1.PodList{}, Keys: ownedBy("StatefulSet")},
			},
			Workers:   d.Workers,
			Reconcile: settled(repeated(statefulSets{d}.pass)),
		},
		{
			Name: "daemonset",
			Watches: []loop.Watch{
				{List: &appsv1.DaemonSetList{}, Keys: seen.set},
				{List: &corev1.NodeList{}, Keys: seen.all, Skip: seen.same},
				{List: &projectv1.ProjectList{}, Keys: seen.project},
				{List: &corev1.ConfigMapList{}, Keys: seen.config},
				{List: &corev1.PodList{}, Keys: ownedBy("DaemonSet")},
			},
			Workers:   d.Workers,
			Reconcile: settled(repeated(daemonSets{d}.pass)),
		},
	}
}

// ownedBy maps an object to its controller, where that is of a kind of apps/v1.
func ownedBy(kind string) func(client.Object) []loop.Key {
	return func(o client.Object) []loop.Key {
		ref := metav1.GetControllerOf(o)
		if ref == nil || ref.Kind != kind || ref.APIVersion != appsv1.SchemeGroupVersion.String() {
			return nil
		}
		return []loop.Key{{Namespace: o.GetNamespace(), Name: ref.Name}}
	}
}

// deploymentOf maps a pod to the Deployment whose ReplicaSet made it, by the set's name. A
// pod of a set with a name of its own wakes nobody: such a set's status does.
func deploymentOf(o client.Object) []loop.Key {
	ref, hash := metav1.GetControllerOf(o), o.GetLabels()[appsv1.DefaultDeploymentUniqueLabelKey]
	if ref == nil || ref.Kind != "ReplicaSet" || hash == "" {
		return nil
	}
	name, ok := strings.CutSuffix(ref.Name, "-"+hash)
	if !ok {
		return nil
	}
	return []loop.Key{{Namespace: o.GetNamespace(), Name: name}}
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

// passes bounds how often one Reconcile looks again at once after it acted; what is left
// is taken up by the next.
const passes = 50

// repeated reads, decides and acts until nothing is left to do but to wait.
func repeated(pass func(context.Context, loop.Key) (acted bool, after time.Duration, err error)) func(context.Context, loop.Key) (loop.Result, error) {
	return func(ctx context.Context, key loop.Key) (loop.Result, error) {
		for range passes {
			acted, after, err := pass(ctx, key)
			if err != nil || !acted {
				return loop.Result{After: after}, err
			}
		}
		return loop.Result{After: time.Millisecond}, nil
	}
}

func number(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
