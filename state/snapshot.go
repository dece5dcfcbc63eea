package state

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// snapshot walks everything below the client's prefix, as of one revision.
type snapshot struct {
	c    *Client
	from string
	rev  int64
	done bool
}

func (s *snapshot) next(ctx context.Context) ([]*mvccpb.KeyValue, error) {
	prefix := s.c.opts.Prefix + "/"
	if s.from == "" {
		s.from = prefix
	}
	resp, err := s.c.kv.Get(ctx, s.from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(page), clientv3.WithRev(s.rev))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, fmt.Errorf("read live state: it changed so much meanwhile that revision %d is no longer kept: try again", s.rev)
	}
	if err != nil {
		return nil, fmt.Errorf("read live state: %w", err)
	}
	if s.rev == 0 {
		s.rev = resp.Header.Revision
	}
	if s.done = !resp.More; !s.done {
		s.from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	return resp.Kvs, nil
}
