package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"
)

// How many objects one transaction reads or writes, and how many bytes it writes. Etcd takes at most
// 128 operations and 1.5 MiB, of which keys and comparisons need a share.
const (
	batchObjects = 100
	batchBytes   = 1 << 20
)

// batchesAtOnce is how many batches are under way for each core: while one waits for the disk, the
// next is prepared.
const batchesAtOnce = 2

// ApplyResult is what became of one object of ApplyMany.
type ApplyResult struct {
	// Object is the object as it is stored now, or as a dry run would have stored it; nil after an error.
	Object *unstructured.Unstructured
	// Before is the object as it was; nil: it did not exist. It is the same pointer as Object where
	// nothing changed.
	Before *unstructured.Unstructured
	// Changed says that the object was written, or in a dry run would have been.
	Changed bool
	// Err is what Patch with client.Apply would have answered.
	Err error
}

// ApplyMany applies every object as Patch with client.Apply does, one by one, and answers in the same
// order: the same merge, defaults, validation, conflicts and preconditions. It differs in the cost:
// objects are read and written in transactions of many and prepared on all cores. It is
// not one transaction: each object is applied or fails by itself, whatever becomes of the others,
// and one that another writer changes meanwhile is applied again, alone. An object that is given twice is
// applied in the order given. The objects are left as they are.
func (c *Client) ApplyMany(ctx context.Context, objects []*unstructured.Unstructured, o client.ApplyOptions) []ApplyResult {
	results := make([]ApplyResult, len(objects))
	dry, err := dryRun(o.DryRun)
	if err != nil {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	all := make([]application, len(objects))
	for i, obj := range objects {
		all[i] = application{c: c, from: obj, result: &results[i], force: o.Force != nil && *o.Force}
		all[i].w = write{verb: "patch", dryRun: dry, manager: o.FieldManager}
	}
	c.applyAll(ctx, all)
	return results
}

func (c *Client) applyAll(ctx context.Context, all []application) {
	var located []*application
	for i := range all {
		a := &all[i]
		if a.w.target, a.result.Err = c.locate(a.from); a.result.Err == nil {
			located = append(located, a)
		}
	}
	first, again := together(located)
	eachBatch(first, func(batch []*application) { c.applyBatch(ctx, batch) })
	for _, a := range again {
		a.alone(ctx)
	}
}

// together tells what may share transactions from what is applied afterwards, one at a time: what is
// given again, and Events, which are written with a lease.
func together(all []*application) (first, again []*application) {
	seen := make(map[string]bool, len(all))
	for _, a := range all {
		if seen[a.w.key] || a.w.Kind.Kind == "Event" {
			again = append(again, a)
			continue
		}
		seen[a.w.key] = true
		first = append(first, a)
	}
	return first, again
}

// eachBatch calls do for slices of all, several at once.
func eachBatch(all []*application, do func([]*application)) {
	workers := batchesAtOnce * runtime.GOMAXPROCS(0)
	// Few objects are spread over the cores, too.
	size := min(batchObjects, max(1, (len(all)+workers-1)/workers))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, (len(all)+size-1)/size) {
		wg.Go(func() {
			for {
				end := int(next.Add(int64(size)))
				if end-size >= len(all) {
					return
				}
				do(all[end-size : min(end, len(all))])
			}
		})
	}
	wg.Wait()
}

// application is the apply of one object of many.
type application struct {
	c      *Client
	w      write
	from   *unstructured.Unstructured
	force  bool
	result *ApplyResult
	live   *unstructured.Unstructured
	// bare: nobody wants the object as it is stored afterwards, only its revision.
	bare bool
	// stored is the revision of what is stored in the end.
	stored int64
	settled
}

func (a *application) fail(err error) { *a.result = ApplyResult{Err: err} }

// settle works out what becomes of what was read, and says whether there is something to write.
func (a *application) settle(ctx context.Context, kv *mvccpb.KeyValue) bool {
	err := a.work(ctx, kv)
	if err != nil {
		a.fail(err)
		return false
	}
	if !a.writes {
		a.done(a.rev)
	}
	return a.writes
}

func (a *application) work(ctx context.Context, kv *mvccpb.KeyValue) error {
	manifest, err := a.manifest()
	if err != nil {
		return err
	}
	w, err := a.w.applying(manifest, a.force)
	if err != nil {
		return err
	}
	if a.settled, err = a.c.current(w.target, kv); err != nil {
		return err
	}
	a.live = nil
	var content map[string]any
	if a.rev != 0 {
		a.live = &unstructured.Unstructured{}
		if err := decode(w.kindInfo, a.before, a.rev, a.live); err != nil {
			return err
		}
		content = a.live.Object
	}
	merge := w.change
	w.change = func(live client.Object) (client.Object, error) {
		if next := w.shortcut(live, content, manifest); next != nil {
			return next, nil
		}
		return merge(live)
	}
	a.settled, err = a.c.settle(ctx, w, a.settled)
	return err
}

// manifest is what a client would have sent: the object by way of JSON.
func (a *application) manifest() (*unstructured.Unstructured, error) {
	if content, ok := sent(a.from.Object); ok && content != nil {
		return &unstructured.Unstructured{Object: content.(map[string]any)}, nil
	}
	data, err := json.Marshal(a.from)
	if err != nil {
		return nil, fmt.Errorf("patch %s: %w", a.w.target, err)
	}
	out := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &out.Object); err != nil {
		return nil, a.w.unpatchable(err)
	}
	return out, nil
}

// done fills in the result of what is stored, or would be, at rev.
func (a *application) done(rev int64) {
	a.stored = rev
	if a.bare {
		*a.result = ApplyResult{Before: a.live, Changed: a.rev == 0 || !bytes.Equal(a.before, a.after)}
		return
	}
	if a.rev != 0 && bytes.Equal(a.before, a.after) {
		*a.result = ApplyResult{Object: a.live, Before: a.live}
		return
	}
	obj := &unstructured.Unstructured{}
	if err := decode(a.w.kindInfo, a.after, rev, obj); err != nil {
		a.fail(err)
		return
	}
	*a.result = ApplyResult{Object: obj, Before: a.live, Changed: true}
}

// applyBatch reads the objects of a batch at once, and writes those that change.
func (c *Client) applyBatch(ctx context.Context, batch []*application) {
	kvs, err := c.getAll(ctx, batch)
	if err != nil {
		for _, a := range batch {
			a.fail(a.w.failed(a.w.verb, err))
		}
		return
	}
	var writes []*application
	for i, a := range batch {
		if a.settle(ctx, kvs[i]) {
			writes = append(writes, a)
		}
	}
	c.commitAll(ctx, writes)
}

// commitAll writes settled changes in as few transactions as their size allows.
func (c *Client) commitAll(ctx context.Context, all []*application) {
	var writes []*application
	size := 0
	for _, a := range all {
		n := len(a.w.key) + len(a.op.ValueBytes())
		if size+n > batchBytes {
			c.commit(ctx, writes)
			writes, size = nil, 0
		}
		writes, size = append(writes, a), size+n
	}
	c.commit(ctx, writes)
}

// getAll reads the objects of a batch at one revision; nil stands for what does not exist.
func (c *Client) getAll(ctx context.Context, batch []*application) ([]*mvccpb.KeyValue, error) {
	ops := make([]clientv3.Op, len(batch))
	for i, a := range batch {
		ops[i] = clientv3.OpGet(a.w.key)
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, err
	}
	kvs := make([]*mvccpb.KeyValue, len(batch))
	for i, r := range resp.Responses {
		if got := r.GetResponseRange().Kvs; len(got) > 0 {
			kvs[i] = got[0]
		}
	}
	return kvs, nil
}

// commit writes settled changes, all or none. Where one of them is out of date, or they are too large
// together, each is applied by itself.
func (c *Client) commit(ctx context.Context, writes []*application) {
	if len(writes) == 0 {
		return
	}
	ifs, thens := make([]clientv3.Cmp, len(writes)), make([]clientv3.Op, len(writes))
	for i, a := range writes {
		ifs[i] = clientv3.Compare(clientv3.ModRevision(a.w.key), "=", a.rev)
		thens[i] = a.op
	}
	resp, err := c.swap(ctx, ifs, thens)
	switch {
	case err == nil && resp.Succeeded:
		for _, a := range writes {
			a.done(resp.Header.Revision)
		}
	case err == nil, errors.Is(err, rpctypes.ErrRequestTooLarge) && len(writes) > 1:
		for _, a := range writes {
			a.alone(ctx)
		}
	default:
		for _, a := range writes {
			a.fail(a.w.failed(a.w.verb, err))
		}
	}
}

// alone applies the object by itself, as often as it takes.
func (a *application) alone(ctx context.Context) {
	for {
		kvs, err := a.c.getAll(ctx, []*application{a})
		if err != nil {
			a.fail(a.w.failed(a.w.verb, err))
			return
		}
		if !a.settle(ctx, kvs[0]) {
			return
		}
		resp, err := a.c.swap(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(a.w.key), "=", a.rev)}, []clientv3.Op{a.op})
		if err != nil {
			a.fail(a.w.failed(a.w.verb, err))
			return
		}
		if resp.Succeeded {
			a.done(resp.Header.Revision)
			return
		}
	}
}
