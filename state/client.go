package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// Client is live state as controller-runtime's client.WithWatch. Reads are linearizable: etcd sends an
// event before the write is there for a serializable read, and a controller that the event woke would
// find the world as it was before. Objects may be typed,
// unstructured, or for reads and patches metadata only. Errors are apierrors that name kind and
// object. See the package's documentation for what a write goes through.
type Client struct {
	kv       *clientv3.Client
	seal     *sealer
	opts     Options
	events   *expiry
	hubs     *hubs
	log      *slog.Logger
	embedded bool
	life     context.Context
}

var _ client.WithWatch = (*Client)(nil)

func newClient(life context.Context, kv *clientv3.Client, seal *sealer, o Options, embedded bool) *Client {
	c := &Client{kv: kv, seal: seal, opts: o, log: o.Log, embedded: embedded, life: life,
		hubs: &hubs{all: map[string]*hub{}}}
	c.events = &expiry{kv: kv, ttl: o.EventTTL, now: time.Now}
	return c
}

func (c *Client) at(prefix string) *Client {
	other := *c
	other.opts.Prefix = strings.TrimRight(prefix, "/")
	return &other
}

// Scheme implements client.Client.
func (c *Client) Scheme() *runtime.Scheme { return api.Scheme() }

// RESTMapper implements client.Client: it knows every kind of api.Kinds.
func (c *Client) RESTMapper() meta.RESTMapper { return newMapper() }

// GroupVersionKindFor implements client.Client.
func (c *Client) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	k, err := kindOf(obj)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return k.GroupVersionKind, nil
}

// IsObjectNamespaced implements client.Client.
func (c *Client) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	k, err := kindOf(obj)
	if err != nil {
		return false, err
	}
	return k.Namespaced, nil
}

// locate finds the kind, name and etcd key of an object.
func (c *Client) locate(obj client.Object) (target, error) {
	k, err := kindOf(obj)
	if err != nil {
		return target{}, err
	}
	return c.target(k, client.ObjectKeyFromObject(obj))
}

// target is one object of a kind, that may or may not exist.
type target struct {
	*kindInfo
	name types.NamespacedName
	key  string
}

func (c *Client) target(k *kindInfo, name types.NamespacedName) (target, error) {
	if !k.Namespaced {
		name.Namespace = ""
	}
	key, err := keyOf(c.opts.Prefix, k.Kind, name)
	if err != nil {
		return target{}, apierrors.NewBadRequest(fmt.Sprintf("%s %q: %v", k.Kind.Kind, name, err))
	}
	return target{kindInfo: k, name: name, key: key}, nil
}

func (t target) String() string {
	if t.Namespaced {
		return t.Kind.Kind + " " + t.name.String()
	}
	return t.Kind.Kind + " " + t.name.Name
}

func (t target) notFound() error { return apierrors.NewNotFound(t.GroupResource(), t.name.Name) }

func (t target) conflict(format string, args ...any) error {
	return apierrors.NewConflict(t.GroupResource(), t.name.Name, fmt.Errorf(format, args...))
}

// failed turns an error of etcd into one of the API.
func (t target) failed(verb string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("%s: is too large to be stored", t))
	}
	return fmt.Errorf("%s %s: %w", verb, t, err)
}
