package state

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrDeposed is what a former leader gets for its writes.
var ErrDeposed = errors.New("this process no longer leads: nothing was written")

// fence is the leadership that a context acts under: the key that holds it and the revision that it was
// won at. The key goes with the leader's lease, by etcd's clock and not by the leader's, so that a leader that
// was stopped for a while and does not know that its time is over cannot write either.
type fence struct {
	key string
	rev int64
}

type fenceKey struct{}

// swap is a transaction of a write: ops if the conditions hold, otherwise the reads of or. Under a
// leadership it holds only while that lasts.
func (c *Client) swap(ctx context.Context, ifs []clientv3.Cmp, ops []clientv3.Op, or ...clientv3.Op) (*clientv3.TxnResponse, error) {
	f, fenced := ctx.Value(fenceKey{}).(fence)
	if fenced {
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(f.key), "=", f.rev))
		or = append(or, clientv3.OpGet(f.key))
	}
	resp, err := c.kv.Txn(ctx).If(ifs...).Then(ops...).Else(or...).Commit()
	if err != nil || resp.Succeeded || !fenced {
		return resp, err
	}
	held := resp.Responses[len(resp.Responses)-1].GetResponseRange().Kvs
	if len(held) == 0 || held[0].CreateRevision != f.rev {
		return nil, ErrDeposed
	}
	return resp, nil
}
