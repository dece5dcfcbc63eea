package image

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Committer writes commits to the repositories that Slipway follows. Where Changes
// changes nothing it makes none, and answers the commit that the branch is at.
type Committer interface {
	Commit(ctx context.Context, req api.CommitRequest) (commit string, err error)
}

// Deps is what the controllers and the Sink need.
type Deps struct {
	Client client.Client
	Events Recorder
	Log    *slog.Logger
	// Clock tells the time; default time.Now.
	Clock func() time.Time
	// Registry is the integrated registry as nodes pull from it, host:port.
	Registry string
	// PublicRegistry is the same as seen from outside; empty: it is not.
	PublicRegistry string
	// Commits writes promotions.
	Commits Committer
	// HTTP reaches outside registries; default: a client with a timeout of 30 s.
	HTTP *http.Client
	// Workers of each controller; default 4.
	Workers int
}

func (d Deps) complete() Deps {
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.HTTP == nil {
		d.HTTP = &http.Client{Timeout: 30 * time.Second}
	}
	if d.Workers == 0 {
		d.Workers = 4
	}
	return d
}

// Controllers are the three controllers of this package.
func Controllers(d Deps) []loop.Controller {
	d = d.complete()
	streams := &streams{Deps: d}
	triggers := &triggers{Deps: d}
	promotions := &promotions{Deps: d}
	return []loop.Controller{
		{
			Name:      "imagestream",
			Watches:   []loop.Watch{{List: &imagev1.ImageStreamList{}, Keys: streams.refs.withReferrers}},
			Workers:   d.Workers,
			Reconcile: settled(streams.reconcile),
		},
		{
			Name: "imagetrigger",
			Watches: []loop.Watch{
				{List: &appsv1.DeploymentConfigList{}},
				{List: &imagev1.ImageStreamList{}, Keys: triggers.refs.referrers},
			},
			Workers:   d.Workers,
			Reconcile: settled(triggers.reconcile),
		},
		{
			Name: "promotion",
			Watches: []loop.Watch{
				{List: &v1alpha1.PromotionList{}},
				{List: &v1alpha1.GitRepositoryList{}, Keys: promotions.repositories.referrers},
				{List: &imagev1.ImageStreamList{}, Keys: promotions.inProject},
			},
			Reconcile: settled(promotions.reconcile),
		},
	}
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

// references knows which objects look at which others, so that a change of the one
// wakes the other. It is noted before the others are read: a change is then either
// read or wakes. It is a hint, rebuilt at start, when every object is looked at once.
type references struct {
	mu sync.Mutex
	// to and from are the same pairs, both ways. Guarded by mu.
	to, from map[loop.Key]map[loop.Key]bool
}

// note replaces what key looks at.
func (r *references) note(key loop.Key, targets ...loop.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == nil {
		r.to, r.from = map[loop.Key]map[loop.Key]bool{}, map[loop.Key]map[loop.Key]bool{}
	}
	for t := range r.to[key] {
		if delete(r.from[t], key); len(r.from[t]) == 0 {
			delete(r.from, t)
		}
	}
	delete(r.to, key)
	for _, t := range targets {
		if r.to[key] == nil {
			r.to[key] = map[loop.Key]bool{}
		}
		if r.from[t] == nil {
			r.from[t] = map[loop.Key]bool{}
		}
		r.to[key][t], r.from[t][key] = true, true
	}
}

func (r *references) of(target loop.Key) []loop.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []loop.Key
	for k := range r.from[target] {
		keys = append(keys, k)
	}
	return keys
}

func (r *references) referrers(o client.Object) []loop.Key {
	return r.of(client.ObjectKeyFromObject(o))
}

func (r *references) withReferrers(o client.Object) []loop.Key {
	return append(r.referrers(o), client.ObjectKeyFromObject(o))
}
