package state

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// defaultManager owns fields written by callers that do not name themselves.
const defaultManager = "slipway"

// write is one change of one object.
type write struct {
	target
	verb string
	// status: only the status is written; otherwise everything but the status.
	status bool
	dryRun bool
	// manager owns the fields that change.
	manager string
	// tracked: change has updated the field managers itself.
	tracked bool
	// change returns what the object shall be. It gets a copy of its own of what is, or nil where the
	// object does not exist, and may be called again after a lost race.
	change func(live client.Object) (client.Object, error)
}

func dryRun(opts []string) (bool, error) {
	switch {
	case len(opts) == 0:
		return false, nil
	case len(opts) == 1 && opts[0] == metav1.DryRunAll:
		return true, nil
	}
	return false, apierrors.NewBadRequest(fmt.Sprintf("dry run %q: only %q is known", opts, metav1.DryRunAll))
}

// run carries the write out and puts what is stored now into out.
func (c *Client) run(ctx context.Context, w write, out client.Object) error {
	if w.manager == "" {
		w.manager = defaultManager
	}
	if w.status && !w.hasStatus() {
		return apierrors.NewGenericServerResponse(404, w.verb, w.GroupResource(), w.name.Name, w.Kind.Kind+" has no status to write", 0, true)
	}
	resp, err := c.kv.Get(ctx, w.key)
	if err != nil {
		return w.failed(w.verb, err)
	}
	kvs := resp.Kvs
	for {
		var kv *mvccpb.KeyValue
		if len(kvs) > 0 {
			kv = kvs[0]
		}
		lost, err := c.attempt(ctx, w, kv, out)
		if lost == nil {
			return err
		}
		kvs = lost.Kvs
	}
}

// attempt runs the write on what was read. Where something else was written meanwhile, it answers
// with what that was.
func (c *Client) attempt(ctx context.Context, w write, kv *mvccpb.KeyValue, out client.Object) (*clientv3.GetResponse, error) {
	s, err := c.current(w.target, kv)
	if err != nil {
		return nil, err
	}
	if s, err = c.settle(ctx, w, s); err != nil {
		return nil, err
	}
	if !s.writes {
		return nil, decode(w.kindInfo, s.after, s.rev, out)
	}
	resp, err := c.swap(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(w.key), "=", s.rev)},
		[]clientv3.Op{s.op}, clientv3.OpGet(w.key))
	if err != nil {
		return nil, w.failed(w.verb, err)
	}
	if !resp.Succeeded {
		return (*clientv3.GetResponse)(resp.Responses[0].GetResponseRange()), nil
	}
	return nil, decode(w.kindInfo, s.after, resp.Header.Revision, out)
}

// settled is what a write comes to, before it is carried out.
type settled struct {
	// before and after are the object's JSON as it is and as it shall be; before is nil where there is
	// no object.
	before, after []byte
	// rev is the revision that before was written at; 0: there is no object.
	rev int64
	// op carries the change out, if moves: a write without effect has nothing to do. A dry run does not
	// write what moves.
	op            clientv3.Op
	moves, writes bool
}

// current is what there is, of a write that has not been settled yet.
func (c *Client) current(t target, kv *mvccpb.KeyValue) (s settled, err error) {
	if kv == nil {
		return s, nil
	}
	s.rev = kv.ModRevision
	s.before, err = c.plain(t.kindInfo, t.key, kv.Value)
	return s, err
}

// settle works out what the write makes of what there is; it changes nothing.
func (c *Client) settle(ctx context.Context, w write, s settled) (settled, error) {
	var live client.Object
	if s.rev != 0 {
		live = w.new()
		if err := decode(w.kindInfo, s.before, s.rev, live); err != nil {
			return s, err
		}
	}
	next, err := c.prepare(ctx, w, live)
	if err != nil {
		return s, err
	}
	if s.after, err = encode(next); err != nil {
		return s, fmt.Errorf("encode %s: %w", w.target, err)
	}
	gone := live != nil && next.GetDeletionTimestamp() != nil && released(next)
	switch {
	case gone:
		s.op = clientv3.OpDelete(w.key)
	case bytes.Equal(s.before, s.after):
		return s, nil
	case w.dryRun && w.Kind.Kind == "Event":
	case w.Kind.Kind == "Event":
		lease, err := c.events.next(ctx)
		if err != nil {
			return s, w.failed(w.verb, err)
		}
		s.op = clientv3.OpPut(w.key, string(s.after), clientv3.WithLease(lease))
	default:
		s.op = clientv3.OpPut(w.key, string(c.stored(w.kindInfo, w.key, s.after)))
	}
	s.moves, s.writes = true, !w.dryRun
	return s, nil
}

// released: nothing holds an object back whose deletion was asked for.
func released(obj client.Object) bool {
	grace := obj.GetDeletionGracePeriodSeconds()
	return len(obj.GetFinalizers()) == 0 && (grace == nil || *grace == 0)
}

// prepare makes of live and the change what is to be stored.
func (c *Client) prepare(ctx context.Context, w write, live client.Object) (client.Object, error) {
	var given client.Object
	if live != nil {
		given = live.DeepCopyObject().(client.Object)
	}
	next, err := w.change(given)
	if err != nil {
		return nil, err
	}
	next.SetNamespace(w.name.Namespace)
	if live == nil {
		c.birth(w, next)
	} else if next, err = w.restore(next, live); err != nil {
		return nil, err
	}
	if c.opts.Default != nil {
		c.opts.Default(next)
	}
	if live != nil && w.generations && !w.status && live.GetDeletionTimestamp() == nil && !w.sameBody(live, next) {
		next.SetGeneration(live.GetGeneration() + 1)
	}
	if err := w.track(next, live); err != nil {
		return nil, err
	}
	if live == nil && c.opts.Admit != nil {
		if err := c.opts.Admit(ctx, c, next); err != nil {
			return nil, err
		}
	}
	return next, c.admit(w, next, live)
}

// newUID is a UID that sorts after those that this process gave before: which of two objects of one
// second is the older is told by it, as api.Older does.
func newUID() types.UID { return types.UID(uuid.Must(uuid.NewV7()).String()) }

// birth sets what the server alone decides about a new object.
func (c *Client) birth(w write, obj client.Object) {
	obj.SetUID(newUID())
	now := metav1.NewTime(c.opts.Now()).Rfc3339Copy()
	obj.SetCreationTimestamp(now)
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetResourceVersion("")
	obj.SetSelfLink("")
	obj.SetGeneration(0)
	if w.generations {
		obj.SetGeneration(1)
	}
	if w.hasStatus() && !w.bornWithStatus {
		w.clearStatus(obj)
	}
}

// restore puts back what this write may not change.
func (w write) restore(next, live client.Object) (client.Object, error) {
	if uid := next.GetUID(); uid != "" && uid != live.GetUID() {
		return nil, w.conflict("uid %s was asked for, but the object now has %s", uid, live.GetUID())
	}
	if rv := next.GetResourceVersion(); rv != "" && rv != live.GetResourceVersion() {
		return nil, w.conflict("the object has been modified (resourceVersion %s, now %s): apply the change to the latest version and try again",
			rv, live.GetResourceVersion())
	}
	if w.status {
		kept := live.DeepCopyObject().(client.Object)
		w.copyStatus(kept, next)
		kept.SetManagedFields(next.GetManagedFields())
		return kept, nil
	}
	if w.hasStatus() {
		w.copyStatus(next, live)
	}
	next.SetUID(live.GetUID())
	next.SetResourceVersion(live.GetResourceVersion())
	next.SetCreationTimestamp(live.GetCreationTimestamp())
	next.SetDeletionTimestamp(live.GetDeletionTimestamp())
	next.SetDeletionGracePeriodSeconds(live.GetDeletionGracePeriodSeconds())
	next.SetGeneration(live.GetGeneration())
	next.SetSelfLink("")
	return next, nil
}

// admit asks the validations. An object that is on its way out is let go whatever it looks like,
// and the status is the writer's own word.
func (c *Client) admit(w write, next, live client.Object) error {
	var errs field.ErrorList
	if live != nil && next.GetDeletionTimestamp() != nil {
		for _, f := range next.GetFinalizers() {
			if !slices.Contains(live.GetFinalizers(), f) {
				errs = append(errs, field.Forbidden(field.NewPath("metadata", "finalizers"), "none can be added while the object is being deleted"))
				break
			}
		}
		return w.invalid(errs)
	}
	if w.status {
		return nil
	}
	if c.opts.Validate != nil {
		errs = c.opts.Validate(next)
	}
	if live != nil && c.opts.ValidateUpdate != nil {
		errs = append(errs, c.opts.ValidateUpdate(next, live)...)
	}
	return w.invalid(errs)
}

func (w write) invalid(errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	if w.Sealed {
		for _, e := range errs {
			e.BadValue = field.OmitValueType{}
		}
	}
	return apierrors.NewInvalid(w.GroupKind(), w.name.Name, errs)
}
