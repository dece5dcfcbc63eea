package project

import (
	"context"
	"log/slog"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
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
	// Workers of the garbage collector; default 4.
	Workers int
}

// Controllers are the four controllers of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Workers == 0 {
		d.Workers = 4
	}
	g := &garbage{Deps: d, owned: newOwned()}
	return []loop.Controller{
		{
			Name: "project",
			Watches: []loop.Watch{
				{List: &projectv1.ProjectList{}},
				{List: &networkv1.NetNamespaceList{}},
				{List: &corev1.ServiceAccountList{}, Keys: furniture(accounts)},
				{List: &rbacv1.RoleBindingList{}, Keys: furniture(bindings)},
			},
			// One worker: two projects never choose their ids at the same time.
			Workers:   1,
			Reconcile: settled(projects{d}.reconcile),
		},
		{Name: "garbage", Watches: watches(anyKind, g.owned.keys), Workers: d.Workers, Reconcile: settled(g.reconcile)},
		{Name: "content", Watches: watches(content, namespaceOf), Workers: 1, Reconcile: settled(contents{d}.reconcile)},
		{Name: "ended", Watches: []loop.Watch{{List: &corev1.PodList{}, Keys: ended{d}.keys}}, Workers: 1, Reconcile: settled(ended{d}.reconcile)},
	}
}

// watches follows every kind that f keeps. keys is told which kind it is.
func watches(f func(api.Kind) bool, keys func(api.Kind) func(client.Object) []loop.Key) []loop.Watch {
	var all []loop.Watch
	for _, k := range api.Kinds() {
		if f(k) {
			all = append(all, loop.Watch{List: listOf(k), Keys: keys(k)})
		}
	}
	return all
}

// anyKind but Events, which own nothing, are owned by nobody and go by themselves.
func anyKind(k api.Kind) bool { return k.Kind != "Event" }

func content(k api.Kind) bool { return k.Namespaced && anyKind(k) }

func namespaceOf(api.Kind) func(client.Object) []loop.Key {
	return func(o client.Object) []loop.Key { return []loop.Key{{Name: o.GetNamespace()}} }
}

// listOf is an empty list of a kind; the scheme knows every kind.
func listOf(k api.Kind) client.ObjectList {
	return must(api.Scheme().New(k.GroupVersion().WithKind(k.Kind + "List"))).(client.ObjectList)
}

func objectOf(k api.Kind) client.Object {
	return must(api.Scheme().New(k.GroupVersionKind)).(client.Object)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a kind without a type is a mistake in package api
	}
	return v
}

func kindOf(apiVersion, kind string) (api.Kind, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return api.Kind{}, false
	}
	return api.KindFor(api.Modern(gv.WithKind(kind)).GroupKind())
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
