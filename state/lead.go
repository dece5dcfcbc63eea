package state

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// leadTTL is how many seconds a leader may be silent before another takes over.
const leadTTL = 10

// leadRetry is the pause before running for leadership again after a lost one.
const leadRetry = time.Second

// Lead runs act while this process is the one leader called name among all that share this etcd, and
// again whenever it becomes so again. act's context ends when the leadership does, and Lead waits for
// act to return before it lets go. A leader that is cut off from etcd learns of it when its lease runs
// out, after at most ten seconds; until act has returned it may overlap with the next one. What it then
// still writes with act's context, or one made from it, is refused with ErrDeposed. Lead returns ctx's error when ctx ends, or nil
// once act has returned of its own.
func (c *Client) Lead(ctx context.Context, name string, act func(context.Context)) error {
	if err := checkSegment("name", name); err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	for {
		done, err := c.term(ctx, name, act)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case done:
			return nil
		case err != nil:
			c.log.Warn("leadership failed, will retry", "name", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leadRetry):
		}
	}
}

// term waits for the leadership and holds it once. done: act returned although it still led.
func (c *Client) term(ctx context.Context, name string, act func(context.Context)) (done bool, err error) {
	grant, err := c.kv.Grant(ctx, leadTTL)
	if err != nil {
		return false, err
	}
	session, err := concurrency.NewSession(c.kv, concurrency.WithLease(grant.ID), concurrency.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer func() {
		session.Orphan()
		if c.life.Err() != nil {
			return
		}
		// The lease is given back even where ctx has ended, so that the next leader need not wait for it.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), leadTTL*time.Second)
		defer cancel()
		if _, revoked := c.kv.Revoke(back, clientv3.LeaseID(grant.ID)); revoked != nil && err == nil && c.life.Err() == nil {
			err = revoked
		}
	}()
	election := concurrency.NewElection(session, c.opts.Prefix+"/"+leadSegment+"/"+name)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-session.Done():
			stop()
		case <-running.Done():
		}
	}()
	if err := election.Campaign(running, fmt.Sprintf("%x", grant.ID)); err != nil {
		return false, err
	}
	act(context.WithValue(running, fenceKey{}, fence{election.Key(), election.Rev()}))
	return running.Err() == nil, nil
}
