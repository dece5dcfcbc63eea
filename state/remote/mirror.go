package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/nodecert"
)

// mirrored are the kinds that a node reads, by group. Those that are not served are left out.
var mirrored = map[string][]string{
	"": {"Node", "Pod", "Secret", "ConfigMap", "PersistentVolumeClaim", "PersistentVolume", "ServiceAccount", "Service", "Endpoints"},

	"project.openshift.io":  {"Project"},
	"network.openshift.io":  {"NetNamespace", "HostSubnet", "EgressNetworkPolicy"},
	"networking.k8s.io":     {"NetworkPolicy"},
	"security.openshift.io": {"SecurityContextConstraints"},
}

// byNeed are the kinds of which a server shows what the node's pods need. An object may be needed before it has
// arrived, so what is not there is asked for.
var byNeed = map[string]bool{"Secret": true, "ConfigMap": true, "PersistentVolumeClaim": true, "PersistentVolume": true, "ServiceAccount": true}

// DefaultPatience is how long a server is waited for.
const DefaultPatience = 10 * time.Second

// retry is the pause before a kind is watched anew.
const retry = time.Second

// NewClient is the node API as a client, without a mirror.
func NewClient(c http.RoundTripper) (client.WithWatch, error) {
	return client.NewWithWatch(&rest.Config{
		Host: "https://" + nodecert.ServerName, QPS: -1, UserAgent: "slipway-node", WarningHandler: rest.NoWarnings{},
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}, client.Options{HTTPClient: &http.Client{Transport: c}, Scheme: api.Scheme(), Mapper: mapper()})
}

func mapper() meta.RESTMapper {
	var versions []schema.GroupVersion
	for _, k := range api.Kinds() {
		versions = append(versions, k.GroupVersion())
	}
	m := meta.NewDefaultRESTMapper(versions)
	for _, k := range api.Kinds() {
		scope := meta.RESTScopeRoot
		if k.Namespaced {
			scope = meta.RESTScopeNamespace
		}
		gv := k.GroupVersion()
		m.AddSpecific(k.GroupVersionKind, gv.WithResource(k.Resource), gv.WithResource(strings.ToLower(k.Kind)), scope)
	}
	return m
}

// Mirror is a client.WithWatch that answers reads of what nodes are shown from what it has last seen.
// Run keeps it up to date.
type Mirror struct {
	client.WithWatch // the server's
	// Patience bounds a write, and a read of what is not mirrored; NewMirror sets DefaultPatience.
	Patience time.Duration
	log      *slog.Logger
	shelves  map[schema.GroupKind]*shelf
}

var _ client.WithWatch = (*Mirror)(nil)

// NewMirror begins with what dir holds of an earlier time. Without a dir it is in memory only.
func NewMirror(c client.WithWatch, dir string, log *slog.Logger) (*Mirror, error) {
	m := &Mirror{WithWatch: c, Patience: DefaultPatience, log: log, shelves: map[schema.GroupKind]*shelf{}}
	for group, kinds := range mirrored {
		for _, name := range kinds {
			k, ok := api.KindFor(schema.GroupKind{Group: group, Kind: name})
			if !ok {
				continue
			}
			s, err := newShelf(k, dir)
			if err != nil {
				return nil, err
			}
			m.shelves[k.GroupKind()] = s
		}
	}
	return m, nil
}

// Run follows the server until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range m.shelves {
		wg.Go(func() { m.follow(ctx, s) })
		wg.Go(func() { s.keep(ctx, m.log) })
	}
	wg.Wait()
}

// Ready waits until everything was seen once, on disk or on a server.
func (m *Mirror) Ready(ctx context.Context) error {
	for _, s := range m.shelves {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", s.kind.Resource, ctx.Err())
		}
	}
	return nil
}

func (m *Mirror) follow(ctx context.Context, s *shelf) {
	told := ""
	for ctx.Err() == nil {
		err := m.session(ctx, s)
		if ctx.Err() != nil {
			return
		}
		wait := retry + time.Duration(rand.Int64N(int64(retry)))
		switch {
		case apierrors.IsForbidden(err) || apierrors.IsNotFound(err):
			// A server of another version: there is nothing to wait for.
			s.open()
			wait = 30 * time.Second
		case err == nil, apierrors.IsResourceExpired(err):
			wait = 0
		}
		if why := fmt.Sprint(err); err != nil && why != told {
			told = why
			m.log.Warn("live state is not followed, will retry", "kind", s.kind.Resource, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(wait, 50*time.Millisecond)):
		}
	}
}

// session follows one watch, which begins with everything there is. Only when that is complete does it
// take the place of what was known.
func (m *Mirror) session(ctx context.Context, s *shelf) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := s.newList()
	if err != nil {
		return err
	}
	yes := true
	w, err := m.WithWatch.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}})
	if err != nil {
		return err
	}
	defer w.Stop()
	fresh := map[client.ObjectKey]client.Object{}
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return apierrors.FromObject(e.Object)
		}
		o, ok := e.Object.(client.Object)
		if !ok {
			return fmt.Errorf("watch %s: got %T", s.kind.Resource, e.Object)
		}
		switch {
		case e.Type == watch.Bookmark:
			if fresh != nil && o.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
				s.replace(fresh)
				fresh = nil
			}
		case fresh != nil && e.Type == watch.Deleted:
			delete(fresh, client.ObjectKeyFromObject(o))
		case fresh != nil:
			fresh[client.ObjectKeyFromObject(o)] = o
		case e.Type == watch.Deleted:
			s.drop(o)
		default:
			s.put(o)
		}
	}
	return nil
}

// kindOf is that of an object or of a list.
func (m *Mirror) kindOf(o runtime.Object) (schema.GroupVersionKind, error) {
	return apiutil.GVKForObject(o, m.Scheme())
}

// shelf is where a kind is mirrored; nil: it is not.
func (m *Mirror) shelf(gvk schema.GroupVersionKind) *shelf {
	if s := m.shelves[gvk.GroupKind()]; s != nil {
		return s
	}
	return m.shelves[schema.GroupKind{Group: gvk.Group, Kind: strings.TrimSuffix(gvk.Kind, "List")}]
}

// Get implements client.Reader.
func (m *Mirror) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	gvk, err := m.kindOf(into)
	if err != nil {
		return err
	}
	s := m.shelf(gvk)
	if s == nil {
		ctx, cancel := context.WithTimeout(ctx, m.Patience)
		defer cancel()
		return m.WithWatch.Get(ctx, key, into, opts...)
	}
	o, known := s.get(key)
	switch {
	case o != nil:
		return convert(o, into)
	case !known:
		return fmt.Errorf("%s %s: live state was not seen yet", s.kind.Kind, key)
	case !byNeed[s.kind.Kind]:
		return apierrors.NewNotFound(s.kind.GroupResource(), key.Name)
	}
	return m.ask(ctx, s, key, into, opts...)
}

// ask asks the server for what is not there. Whether it only has not arrived yet, the server knows; while that
// is away, its last word stands.
func (m *Mirror) ask(ctx context.Context, s *shelf, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	err := m.WithWatch.Get(ctx, key, into, opts...)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		s.noteAbsent(key)
	case !s.wasAbsent(key):
		return err
	}
	return apierrors.NewNotFound(s.kind.GroupResource(), key.Name)
}

// Create implements client.Writer.
func (m *Mirror) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return m.write(ctx, o, func(ctx context.Context) error { return m.WithWatch.Create(ctx, o, opts...) })
}

// Update implements client.Writer.
func (m *Mirror) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return m.write(ctx, o, func(ctx context.Context) error { return m.WithWatch.Update(ctx, o, opts...) })
}

// Patch implements client.Writer.
func (m *Mirror) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	return m.write(ctx, o, func(ctx context.Context) error { return m.WithWatch.Patch(ctx, o, p, opts...) })
}

// Delete implements client.Writer. The object is forgotten when the server says that it is gone.
func (m *Mirror) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	return m.WithWatch.Delete(ctx, o, opts...)
}

// write writes on the server, and puts what that answers where it is read.
func (m *Mirror) write(ctx context.Context, o client.Object, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	if err := do(ctx); err != nil {
		return err
	}
	gvk, err := m.kindOf(o)
	if err != nil {
		return err
	}
	if s := m.shelf(gvk); s != nil && s.holds(o) {
		s.put(o.DeepCopyObject().(client.Object))
	}
	return nil
}

// Status implements client.StatusClient.
func (m *Mirror) Status() client.SubResourceWriter { return m.SubResource("status") }

// SubResource implements client.SubResourceClientConstructor.
func (m *Mirror) SubResource(name string) client.SubResourceClient {
	return subresource{m.WithWatch.SubResource(name), m}
}

type subresource struct {
	client.SubResourceClient
	mirror *Mirror
}

func (s subresource) Update(ctx context.Context, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.mirror.write(ctx, o, func(ctx context.Context) error { return s.SubResourceClient.Update(ctx, o, opts...) })
}

func (s subresource) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.mirror.write(ctx, o, func(ctx context.Context) error { return s.SubResourceClient.Patch(ctx, o, p, opts...) })
}

// errSelector: the mirror reads few fields.
var errSelector = errors.New("cannot be selected by here")
