package dashboard

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// change says that something of a kind changed in a project; the page reads anew what it
// shows of it. Project empty: anywhere.
type change struct {
	Kind    string `json:"kind"` // the resource, such as pods
	Project string `json:"project"`
}

// watchedKinds are those that pages show.
var watchedKinds = []string{
	"projects", "gitrepositories", "applications", "records", "promotions", "deploymentconfigs", "pods", "builds", "imagestreams", "routes", "events", "nodes",
}

// rewatch is the pause before a watch that ended is begun anew.
const rewatch = time.Second

// live tells pages what changed. It watches live state while anybody listens.
type live struct {
	client client.WithWatch
	log    *slog.Logger

	mu        sync.Mutex // guards all below
	listeners map[*listener]bool
	stop      context.CancelFunc
}

// listener collects changes until they are taken; there are never more than kinds times
// projects of them, however slow the taker is.
type listener struct {
	mu      sync.Mutex // guards pending
	pending map[change]bool
	wake    chan struct{} // has room for one
}

func newLive(c client.WithWatch, log *slog.Logger) *live {
	return &live{client: c, log: log, listeners: map[*listener]bool{}}
}

// listen begins to collect what changes from now on. The caller calls done at the end.
func (l *live) listen(ctx context.Context) (one *listener, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == nil {
		if err := l.start(ctx); err != nil {
			return nil, nil, err
		}
	}
	one = &listener{pending: map[change]bool{}, wake: make(chan struct{}, 1)}
	l.listeners[one] = true
	return one, func() { l.leave(one) }, nil
}

func (l *live) leave(one *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.listeners, one)
	if len(l.listeners) == 0 && l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// start begins all watches, which outlive the request that caused them. l.mu is held.
func (l *live) start(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	for _, resource := range watchedKinds {
		k, ok := api.KindNamed(resource)
		if !ok {
			stop()
			return fmt.Errorf("there is no kind %s", resource)
		}
		w, err := l.watch(life, k)
		if err != nil {
			stop()
			return err
		}
		go l.follow(life, k, w)
	}
	l.stop = stop
	return nil
}

// watch watches a kind from now on.
func (l *live) watch(ctx context.Context, k api.Kind) (watch.Interface, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	if err := l.client.List(ctx, list, client.Limit(1)); err != nil {
		return nil, err
	}
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}}
	list.Items = nil
	return l.client.Watch(ctx, list, from)
}

// follow tells of each change, and of a possible one wherever a watch was interrupted.
func (l *live) follow(ctx context.Context, k api.Kind, w watch.Interface) {
	for {
		for e := range w.ResultChan() {
			if o, ok := e.Object.(client.Object); ok && e.Type != watch.Error {
				project := o.GetNamespace()
				if k.Resource == "projects" {
					project = o.GetName()
				}
				l.tell(change{k.Resource, project})
			}
		}
		w.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(rewatch):
			}
			var err error
			if w, err = l.watch(ctx, k); err == nil {
				break
			}
			l.log.Warn("watch for the dashboard", "kind", k.Resource, "error", err)
		}
		l.tell(change{Kind: k.Resource})
	}
}

func (l *live) tell(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for one := range l.listeners {
		one.mu.Lock()
		one.pending[c] = true
		one.mu.Unlock()
		select {
		case one.wake <- struct{}{}:
		default:
		}
	}
}

// take is what changed since it was last called.
func (one *listener) take() []change {
	one.mu.Lock()
	defer one.mu.Unlock()
	var all []change
	for c := range one.pending {
		all = append(all, c)
	}
	clear(one.pending)
	return all
}
