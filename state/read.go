package state

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// page is how many objects one request to etcd asks for.
const page = 500

// Get implements client.Reader. It always reads etcd; there is no cache that could lag.
func (c *Client) Get(ctx context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	k, err := kindOf(obj)
	if err != nil {
		return err
	}
	t, err := c.target(k, name)
	if err != nil {
		return err
	}
	resp, err := c.kv.Get(ctx, t.key)
	if err != nil {
		return t.failed("get", err)
	}
	if len(resp.Kvs) == 0 {
		return t.notFound()
	}
	return c.load(k, resp.Kvs[0], obj)
}

func (c *Client) load(k *kindInfo, kv *mvccpb.KeyValue, obj client.Object) error {
	plain, err := c.plain(k, string(kv.Key), kv.Value)
	if err != nil {
		return err
	}
	return decode(k, plain, kv.ModRevision, obj)
}

// List implements client.Reader. Objects come in the order of namespace and name, all as of one
// revision, which is the list's resourceVersion; so do the further pages of a list with a Limit. A
// continue token whose revision was compacted is answered with 410 Expired.
func (c *Client) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	lo := client.ListOptions{}
	lo.ApplyOptions(opts)
	k, err := kindOfList(list)
	if err != nil {
		return err
	}
	s, err := c.scan(k, &lo)
	if err != nil {
		return err
	}
	items := newItems(list, k)
	for !s.done {
		kvs, err := s.next(ctx)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			if lo.Limit > 0 && items.len() == lo.Limit {
				s.more = true
				break
			}
			if err := items.add(c, kv, s.match); err != nil {
				return err
			}
			s.last = string(kv.Key)
		}
		if s.more {
			break
		}
	}
	items.set(list)
	list.SetResourceVersion(formatRevision(s.rev))
	list.SetContinue(s.token())
	if s.match.all() && s.more {
		list.SetRemainingItemCount(&s.left)
	} else {
		list.SetRemainingItemCount(nil)
	}
	if u, ok := list.(*unstructured.UnstructuredList); ok {
		u.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind.Kind + "List"))
	}
	return nil
}

// scan walks a range of keys at one revision.
type scan struct {
	c          *Client
	k          *kindInfo
	match      matcher
	from, end  string
	rev        int64
	limit      int64
	done, more bool
	left       int64
	last       string
}

type continueToken struct {
	Revision int64  `json:"rv"`
	After    string `json:"after"`
}

func (c *Client) scan(k *kindInfo, lo *client.ListOptions) (*scan, error) {
	ns := lo.Namespace
	if ns != "" && k.Namespaced {
		if err := checkSegment("namespace", ns); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("list %s: %v", k.Resource, err))
		}
	}
	m := newMatcher(lo)
	prefix := prefixOf(c.opts.Prefix, k.Kind, ns)
	s := &scan{c: c, k: k, match: m, from: prefix, end: clientv3.GetPrefixRangeEnd(prefix), limit: page}
	if name, ok := m.name(); ok && (ns != "" || !k.Namespaced) {
		s.from = prefix + name
		s.end = s.from + "\x00"
	}
	if lo.Limit > 0 && m.all() {
		s.limit = lo.Limit + 1
	}
	if lo.Continue == "" {
		return s, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(lo.Continue)
	var tok continueToken
	if err == nil {
		err = json.Unmarshal(raw, &tok)
	}
	if err != nil || tok.Revision <= 0 || strings.Contains(tok.After, "\x00") {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("list %s: the continue token is not valid", k.Resource))
	}
	s.rev = tok.Revision
	s.from = prefix + tok.After + "\x00"
	return s, nil
}

func (s *scan) next(ctx context.Context) ([]*mvccpb.KeyValue, error) {
	opts := []clientv3.OpOption{clientv3.WithRange(s.end), clientv3.WithLimit(s.limit), clientv3.WithRev(s.rev)}
	resp, err := s.c.kv.Get(ctx, s.from, opts...)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("list %s: revision %d is no longer kept, list anew", s.k.Resource, s.rev))
	}
	if err != nil {
		return nil, target{kindInfo: s.k}.failed("list", err)
	}
	if s.rev == 0 {
		s.rev = resp.Header.Revision
	}
	if s.done = !resp.More; !s.done {
		s.from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	s.left = resp.Count - int64(len(resp.Kvs)) + 1
	return resp.Kvs, nil
}

func (s *scan) token() string {
	if !s.more || s.last == "" {
		return ""
	}
	after := strings.TrimPrefix(s.last, prefixOf(s.c.opts.Prefix, s.k.Kind, s.match.namespace))
	raw, err := json.Marshal(continueToken{Revision: s.rev, After: after})
	if err != nil {
		panic(err) // two plain fields always marshal
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// items collects decoded objects in the Go type that the list has.
type items struct {
	k     *kindInfo
	elem  reflect.Type
	slice reflect.Value
}

func newItems(list client.ObjectList, k *kindInfo) *items {
	it := &items{k: k}
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		panic(err) // every client.ObjectList has items
	}
	v := reflect.ValueOf(ptr).Elem()
	it.elem = v.Type().Elem()
	it.slice = reflect.MakeSlice(v.Type(), 0, 0)
	return it
}

func (it *items) len() int64 { return int64(it.slice.Len()) }

func (it *items) add(c *Client, kv *mvccpb.KeyValue, m matcher) error {
	pointers := it.elem.Kind() == reflect.Pointer
	typ := it.elem
	if pointers {
		typ = typ.Elem()
	}
	v := reflect.New(typ)
	obj := v.Interface().(client.Object)
	ok, err := c.loadMatching(it.k, kv, obj, m)
	if !ok || err != nil {
		return err
	}
	if !pointers {
		v = v.Elem()
	}
	it.slice = reflect.Append(it.slice, v)
	return nil
}

func (it *items) set(list client.ObjectList) {
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		panic(err) // checked by newItems
	}
	reflect.ValueOf(ptr).Elem().Set(it.slice)
}

// loadMatching decodes a stored object into obj and says whether m selects it.
func (c *Client) loadMatching(k *kindInfo, kv *mvccpb.KeyValue, obj client.Object, m matcher) (bool, error) {
	plain, err := c.plain(k, string(kv.Key), kv.Value)
	if err != nil {
		return false, err
	}
	if err := decode(k, plain, kv.ModRevision, obj); err != nil {
		return false, err
	}
	if _, meta := obj.(*metav1.PartialObjectMetadata); meta && m.needsBody() {
		whole := k.new()
		if err := decode(k, plain, kv.ModRevision, whole); err != nil {
			return false, err
		}
		return m.matches(whole), nil
	}
	return m.matches(obj), nil
}
