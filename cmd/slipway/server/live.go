package server

import (
	"context"
	"time"

	"slipway.dev/slipway/state/remote"
)

// writePatience is how long the node of a server waits for an etcd elsewhere to take what it reports: a
// container that is to be started is not to wait long for that.
const writePatience = 2 * time.Second

// openLive is how this host's own node sees live state. An etcd elsewhere may be away while pods
// run on: the node then goes on with what was last seen, as nodes that joined do. An embedded one
// is away only together with the node.
func (s *server) openLive(ctx context.Context) error {
	if len(s.cfg.Etcd) == 0 {
		s.live = s.client
		return nil
	}
	m, err := remote.NewMirror(s.client, "", s.log)
	if err != nil {
		return err
	}
	m.Patience = writePatience
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(running)
	}()
	s.closing(func() error {
		stop()
		<-ended
		return nil
	})
	s.live = m
	return m.Ready(ctx)
}
