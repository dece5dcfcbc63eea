package state

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Compact forgets all revisions before rev.
func (c *Client) Compact(ctx context.Context, rev int64) error {
	_, err := c.kv.Compact(ctx, rev, clientv3.WithCompactPhysical())
	return err
}

// Raw is what is stored below the client's prefix, as it is stored.
func (c *Client) Raw(ctx context.Context) (map[string]string, error) {
	resp, err := c.kv.Get(ctx, c.opts.Prefix+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		out[string(kv.Key)] = string(kv.Value)
	}
	return out, nil
}

// PutRaw stores a value as it is.
func (c *Client) PutRaw(ctx context.Context, key, value string) error {
	_, err := c.kv.Put(ctx, key, value)
	return err
}

// DeleteRaw removes a key.
func (c *Client) DeleteRaw(ctx context.Context, key string) error {
	_, err := c.kv.Delete(ctx, key)
	return err
}

// WithBookmarksEvery shortens the silence after which a watch tells its revision.
func (o Options) WithBookmarksEvery(d time.Duration) Options { o.bookmarkEvery = d; return o }

// FailWrite makes the write of etcd that comes after n others fail: before it is carried out, or after, as
// when the process is killed between the write and its answer. Later ones fail too.
func (s *Store) FailWrite(n int, after bool) { s.kv.KV = &failingKV{s.kv.KV, n, after} }

type failingKV struct {
	clientv3.KV
	left  int
	after bool
}

var errKilled = errors.New("killed")

func (f *failingKV) write(do func() error) error {
	f.left--
	switch {
	case f.left >= 0:
		return do()
	case f.left == -1 && f.after:
		return errors.Join(do(), errKilled)
	}
	return errKilled
}

func (f *failingKV) Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (resp *clientv3.PutResponse, err error) {
	err = f.write(func() error { resp, err = f.KV.Put(ctx, key, val, opts...); return err })
	return resp, err
}

func (f *failingKV) Txn(ctx context.Context) clientv3.Txn { return &failingTxn{f.KV.Txn(ctx), f} }

type failingTxn struct {
	clientv3.Txn
	kv *failingKV
}

func (t *failingTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *failingTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *failingTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }
func (t *failingTxn) Commit() (resp *clientv3.TxnResponse, err error) {
	err = t.kv.write(func() error { resp, err = t.Txn.Commit(); return err })
	return resp, err
}

// Rotate is RotateKey on an open store.
func (s *Store) Rotate(ctx context.Context) (int, error) { return s.rotate(ctx) }
