package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/admission"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/nodecert"
)

// Run runs everything until ctx ends: then it stops listening and deciding, and leaves
// containers, links and rules as they are.
func Run(ctx context.Context, c Config) error {
	if err := c.complete(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(c.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.save(); err != nil {
		return err
	}
	s := &server{cfg: &c, log: c.Log}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.serve(ctx)
}

// server is everything of one process. What is opened is closed in reverse.
type server struct {
	cfg *Config
	log *slog.Logger

	store  *state.Store
	client *state.Client
	// live is live state as this host's own node sees it.
	live   client.WithWatch
	events *event.Recorder
	parts  parts
	// api and registry are listened on from the start, so that an address in use is an
	// error before anything on the machine is changed; connections wait until served.
	api, registry net.Listener
	// nodes is nil where there is no node API.
	nodes     net.Listener
	authority *nodecert.Authority
	far       *far
	closers   []func() error
}

func (s *server) closing(f func() error) { s.closers = append(s.closers, f) }

func (s *server) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](); err != nil {
			s.log.Warn("stop", "error", err)
		}
	}
}

// open opens live state and makes every part, without running any.
func (s *server) open(ctx context.Context) (err error) {
	if s.api, err = s.listen("--listen", s.cfg.Listen); err != nil {
		return err
	}
	if s.registry, err = s.listen("--registry", s.cfg.Registry); err != nil {
		return err
	}
	if s.cfg.NodeListen != "" {
		if s.nodes, err = s.listen("--node-listen", s.cfg.NodeListen); err != nil {
			return err
		}
	}
	s.store, err = openState(ctx, s.cfg)
	if err != nil {
		return err
	}
	s.closing(func() error { s.store.Close(); return nil })
	s.client = s.store.Client()
	s.events = event.New(s.client, "slipway", s.log)
	if err := bootstrap(ctx, s.client, s.cfg); err != nil {
		return err
	}
	if err := s.openNodes(ctx); err != nil {
		return err
	}
	if err := s.openLive(ctx); err != nil {
		return err
	}
	return s.openParts(ctx)
}

func (s *server) listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	s.closing(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return l, nil
}

func openState(ctx context.Context, c *Config) (*state.Store, error) {
	return state.Open(ctx, state.Options{
		DataDir: c.stateDir(), Endpoints: c.Etcd, Log: c.Log,
		Default: api.Default, Validate: api.Validate, ValidateUpdate: api.ValidateUpdate, Admit: admission.Admit,
	})
}

// serve runs the parts until ctx ends or one of them fails.
func (s *server) serve(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	run("live state", func(ctx context.Context) error {
		select {
		case err := <-s.store.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	api, err := s.apiHandler()
	if err != nil {
		return err
	}
	run("API", func(ctx context.Context) error { return serveHTTP(ctx, s.api, api) })
	run("registry", func(ctx context.Context) error { return serveHTTP(ctx, s.registry, s.images()) })
	run("node API", s.serveNodes)
	run("router", s.parts.router.Serve)
	run("node", s.parts.agent.Run)
	// Several servers may share one etcd: the one that leads decides, and every one
	// drives its own node.
	run("leader", func(ctx context.Context) error {
		return s.client.Lead(ctx, "controllers", func(ctx context.Context) {
			loop.Run(ctx, s.client, s.log, s.parts.deciding...)
		})
	})
	run("drivers", func(ctx context.Context) error {
		loop.Run(ctx, s.client, s.log, s.parts.driving...)
		return nil
	})
	run("own node", func(ctx context.Context) error {
		loop.Run(ctx, s.live, s.log, s.parts.own...)
		return nil
	})
	run("registry's tags", s.replayPushes)
	s.log.Info("Slipway is up", "api", "http://"+s.cfg.Listen, "router", s.cfg.Router, "registry", s.cfg.Registry, "repository", s.cfg.Repo)
	<-ctx.Done()
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// The limits of a client of the API or the registry. A watch, a log that is followed
// and the upload of a layer last as long as they last.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 5 * time.Second
	pingTimeout   = 15 * time.Second
)

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		// Streams end with the server, and those of a host that was cut off with its silence.
		BaseContext: func(net.Listener) context.Context { return ctx },
		HTTP2:       &http.HTTP2Config{SendPingTimeout: pingTimeout, PingTimeout: pingTimeout},
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if s.Shutdown(ending) != nil {
			s.Close()
		}
	}()
	err := s.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}
