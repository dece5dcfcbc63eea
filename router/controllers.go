package router

import (
	"context"
	"fmt"
	"maps"
	"sync"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Controllers keep the table and the status of the Routes:
//
//   - three follow Routes, Services and Endpoints, and read the one object that changed;
//   - one compiles the table when something did, however many changes came together,
//     and swaps it;
//   - one writes hosts and status into the Routes.
func (r *Router) Controllers() []loop.Controller {
	w := r.world
	return []loop.Controller{
		{
			Name:      "router-routes",
			Watches:   []loop.Watch{{List: &routev1.RouteList{}}},
			Reconcile: follow(w, func() *routev1.Route { return &routev1.Route{} }, w.all.Routes, sameRoute),
		},
		{
			Name:      "router-services",
			Watches:   []loop.Watch{{List: &corev1.ServiceList{}}},
			Reconcile: follow(w, func() *corev1.Service { return &corev1.Service{} }, w.all.Services, sameRevision),
		},
		{
			Name:      "router-endpoints",
			Watches:   []loop.Watch{{List: &corev1.EndpointsList{}}},
			Reconcile: follow(w, func() *corev1.Endpoints { return &corev1.Endpoints{} }, w.all.Endpoints, sameRevision),
		},
		{Name: "router-table", Wake: w.changed, Reconcile: r.compile},
		{
			Name:      "router-status",
			Watches:   []loop.Watch{{List: &routev1.RouteList{}}},
			Wake:      w.judged,
			Workers:   4,
			Reconcile: r.report,
		},
	}
}

// world is what the router knows of live state.
type world struct {
	client client.WithWatch
	// changed wakes the compiler; its one place is enough, for it reads everything.
	changed chan loop.Key
	// judged wakes the writer of status.
	judged chan loop.Key

	mu sync.Mutex
	// all is what was read; guarded by mu. Objects in it are never changed.
	all World
	// complete says that everything was listed once: before, a table would be made of
	// some routes without those that are older; guarded by mu.
	complete bool
	// verdicts of the last compilation; guarded by mu.
	verdicts map[types.NamespacedName]Verdict
}

func newWorld(o Options) *world {
	w := &world{
		client: o.Client, changed: make(chan loop.Key, 1), judged: make(chan loop.Key),
		all: World{
			Routes:    map[types.NamespacedName]*routev1.Route{},
			Services:  map[types.NamespacedName]*corev1.Service{},
			Endpoints: map[types.NamespacedName]*corev1.Endpoints{},
			Suffix:    o.Suffix, AllowWildcards: o.AllowWildcards,
		},
	}
	w.wake() // there is a first table also when there is nothing
	return w
}

func (w *world) wake() {
	select {
	case w.changed <- loop.Key{Name: "table"}:
	default: // already awake
	}
}

// follow reads one object into the world. Reads happen one after the other, so that an
// older one never replaces a newer one.
func follow[T client.Object](w *world, empty func() T, into map[types.NamespacedName]T, same func(a, b T) bool) func(context.Context, loop.Key) (loop.Result, error) {
	return func(ctx context.Context, key loop.Key) (loop.Result, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		obj := empty()
		err := w.client.Get(ctx, key, obj)
		old, had := into[key]
		switch {
		case apierrors.IsNotFound(err):
			if !had {
				return loop.Result{}, nil
			}
			delete(into, key)
		case err != nil:
			return loop.Result{}, err
		case had && same(old, obj):
			return loop.Result{}, nil
		default:
			into[key] = obj
		}
		w.wake()
		return loop.Result{}, nil
	}
}

func sameRevision[T client.Object](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetResourceVersion() == b.GetResourceVersion()
}

// sameRoute ignores changes of status: most are the router's own.
func sameRoute(a, b *routev1.Route) bool {
	return a.UID == b.UID && a.Generation == b.Generation && maps.Equal(a.Annotations, b.Annotations)
}

// compile makes the table of what is known and swaps it, and has the status written of
// those Routes whose verdict changed.
func (r *Router) compile(ctx context.Context, _ loop.Key) (loop.Result, error) {
	w := r.world
	w.mu.Lock()
	if !w.complete {
		if err := w.list(ctx); err != nil {
			w.mu.Unlock()
			return loop.Result{}, fmt.Errorf("reading everything: %w", err)
		}
		w.complete = true
	}
	table, verdicts := Compile(w.all)
	old := w.verdicts
	w.verdicts = verdicts
	followed := revisions(w.all.Endpoints)
	w.mu.Unlock()
	r.Swap(table)
	r.followed.Store(&followed)
	for key, v := range verdicts {
		if before, ok := old[key]; ok && before == v {
			continue
		}
		select {
		case w.judged <- key:
		case <-ctx.Done():
			return loop.Result{}, ctx.Err()
		}
	}
	return loop.Result{}, nil
}

// list reads everything there is; the caller holds mu. What fails leaves the world as
// it was.
func (w *world) list(ctx context.Context) error {
	var routes routev1.RouteList
	var services corev1.ServiceList
	var endpoints corev1.EndpointsList
	for _, l := range []client.ObjectList{&routes, &services, &endpoints} {
		if err := w.client.List(ctx, l); err != nil {
			return err
		}
	}
	fill(w.all.Routes, routes.Items)
	fill(w.all.Services, services.Items)
	fill(w.all.Endpoints, endpoints.Items)
	return nil
}

func fill[T any, P interface {
	*T
	client.Object
}](into map[types.NamespacedName]P, items []T) {
	clear(into)
	for i := range items {
		p := P(&items[i])
		into[client.ObjectKeyFromObject(p)] = p
	}
}

func (w *world) verdict(key types.NamespacedName) (Verdict, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.verdicts[key]
	return v, ok
}
