package state

import (
	"context"
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
