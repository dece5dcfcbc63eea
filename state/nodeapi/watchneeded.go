package nodeapi

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settle is how long changes are collected before it is looked what they mean.
const settle = 10 * time.Millisecond

// watchNeeded watches what the node's pods need. That changes with the objects and with the pods that
// name them, so the watch compares: what is needed now, and what was sent. It begins with
// everything, whatever revision is asked from.
func (s *Server) watchNeeded(ctx context.Context, c *gin.Context, r request, rule rule, o *client.ListOptions) {
	var last atomic.Pointer[names]
	wake, err := s.triggers(ctx, r, &last)
	if err != nil {
		s.fail(c, err)
		return
	}
	out, sent := s.begin(c), map[client.ObjectKey]string{}
	fail := func(err error) {
		if ctx.Err() == nil {
			status := s.statusOf(c.Request.URL.Path, err)
			status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			out.send(watch.Error, &status)
		}
	}
	if err := s.compare(ctx, out, r, rule, o.Namespace, sent, &last); err != nil {
		fail(err)
		return
	}
	if o.Raw.SendInitialEvents != nil && o.Raw.AllowWatchBookmarks {
		mark, err := r.new()
		if err != nil {
			fail(err)
			return
		}
		mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		mark.SetResourceVersion("1")
		if !out.send(watch.Bookmark, r.named(mark)) {
			return
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-wake:
			if !open {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
		select {
		case <-wake: // it came while we waited
		default:
		}
		if err := s.compare(ctx, out, r, rule, o.Namespace, sent, &last); err != nil {
			fail(err)
			return
		}
	}
}

// compare sends what is needed and was not sent as it is, and the end of what is needed no more.
func (s *Server) compare(ctx context.Context, out stream, r request, rule rule, namespace string, sent map[client.ObjectKey]string, last *atomic.Pointer[names]) error {
	need, err := s.needed(ctx, r.name, r.kind.Kind)
	if err != nil {
		return err
	}
	// Before the objects are read: what happens to them from now on is not missed.
	last.Store(&need)
	over := maps.Clone(sent)
	for key := range need {
		if namespace != "" && key.Namespace != namespace {
			continue
		}
		o, err := r.new()
		if err != nil {
			return err
		}
		if err := s.Client.Get(ctx, key, o); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		if o = rule.shown(r.name, o); o == nil {
			continue
		}
		delete(over, key)
		before, had := sent[key]
		if had && before == o.GetResourceVersion() {
			continue
		}
		kind := watch.Added
		if had {
			kind = watch.Modified
		}
		if !out.send(kind, r.named(o)) {
			return context.Canceled
		}
		sent[key] = o.GetResourceVersion()
	}
	for key, version := range over {
		o, err := r.new()
		if err != nil {
			return err
		}
		o.SetNamespace(key.Namespace)
		o.SetName(key.Name)
		o.SetResourceVersion(version)
		if !out.send(watch.Deleted, r.named(o)) {
			return context.Canceled
		}
		delete(sent, key)
	}
	return nil
}

// triggers tells when something may have changed: the objects themselves, the node's pods, and for volumes
// the claims. The channel closes when one of the watches ends.
func (s *Server) triggers(ctx context.Context, r request, last *atomic.Pointer[names]) (<-chan struct{}, error) {
	own := &client.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", r.name)}
	list, err := r.newList()
	if err != nil {
		return nil, err
	}
	watches := map[client.ObjectList]*client.ListOptions{list: {}, &corev1.PodList{}: own}
	switch r.kind.Kind {
	case volumes:
		watches[&corev1.PersistentVolumeClaimList{}] = &client.ListOptions{}
	case secrets:
		watches[&corev1.ServiceAccountList{}] = &client.ListOptions{}
	}
	ctx, cancel := context.WithCancel(ctx)
	wake := make(chan struct{}, 1)
	events := make(chan watch.Event)
	for list, o := range watches {
		w, err := s.Client.Watch(ctx, list, o)
		if err != nil {
			cancel()
			return nil, err
		}
		go forward(ctx, cancel, w, events)
	}
	go func() {
		defer cancel()
		defer close(wake)
		before := map[client.ObjectKey]names{}
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-events:
				if !changes(e, r.kind.Kind, before, last.Load()) {
					continue
				}
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}
	}()
	return wake, nil
}

func forward(ctx context.Context, cancel context.CancelFunc, w watch.Interface, to chan<- watch.Event) {
	defer cancel()
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return
		}
	}
}

// changes says whether an event may change what is shown: a pod's does if the pod names something else
// than before, an object's if it was needed when that was last looked at.
func changes(e watch.Event, kind string, before map[client.ObjectKey]names, last *names) bool {
	pod, ok := e.Object.(*corev1.Pod)
	if !ok {
		// Which volume is needed, the volume says too; which secret, an account.
		o, is := e.Object.(client.Object)
		_, account := o.(*corev1.ServiceAccount)
		return kind == volumes || account && kind == secrets || last == nil || is && (*last)[client.ObjectKeyFromObject(o)]
	}
	key, now := client.ObjectKeyFromObject(pod), names{}
	if e.Type != watch.Deleted {
		uses(pod, kind, now)
		if kind == secrets {
			uses(pod, accounts, now)
		}
	}
	if maps.Equal(before[key], now) {
		return false
	}
	before[key] = now
	if len(now) == 0 {
		delete(before, key)
	}
	return true
}
