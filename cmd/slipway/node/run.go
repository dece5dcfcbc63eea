package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/datadir"
	"slipway.dev/slipway/network"
	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/remote"
)

// running is everything of one process.
type running struct {
	*Config
	identity *remote.Identity
	conn     *remote.Conn
	mirror   *remote.Mirror
	network  *network.Driver
	agent    *runtime.Agent
	docker   engine.Docker
	registry net.Listener
	// answers is where servers may ask.
	answers net.Listener
}

// run runs the node until ctx ends, and leaves containers, links and rules as they are.
func run(ctx context.Context, c *Config, i *remote.Identity) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer fail(nil)
	r := &running{Config: c, identity: i, conn: remote.Dial(i, c.Log)}
	if err := r.listen(); err != nil {
		return err
	}
	defer r.unlisten()
	bare, err := remote.NewClient(r.conn)
	if err != nil {
		return err
	}
	if r.mirror, err = remote.NewMirror(bare, c.dir("seen"), c.Log); err != nil {
		return err
	}
	wg.Go(func() { r.conn.KeepCertificate(ctx) })
	wg.Go(func() { r.mirror.Run(ctx) })
	if err := r.waitForState(ctx); err != nil {
		return ended(ctx, err)
	}
	if err := r.open(ctx); err != nil {
		return ended(ctx, err)
	}
	defer r.docker.Close()
	defer r.network.Close()
	parts := map[string]func(context.Context) error{
		"agent": r.agent.Run, "answers": r.answer,
		"loops": func(ctx context.Context) error {
			loop.Run(ctx, r.mirror, c.Log, append(append(r.network.Controllers(), r.agent.Controllers()...), r.endpoint(), r.servers())...)
			return nil
		},
	}
	if r.registry != nil {
		parts["registry"] = r.forwardRegistry
	}
	for name, f := range parts {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	c.Log.Info("the node is up", "node", i.Settings().Name, "servers", i.Settings().Servers)
	<-ctx.Done()
	wg.Wait()
	return ended(ctx, nil)
}

// ended is why a process ends: err, or the cause that was given; nothing where it was asked to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// sayEvery is how often it is said what is waited for.
const sayEvery = 10 * time.Second

// waitForState waits until live state was seen once, now or by an earlier process.
func (r *running) waitForState(ctx context.Context) error {
	for {
		short, cancel := context.WithTimeout(ctx, sayEvery)
		err := r.mirror.Ready(short)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("waiting for a server", "servers", r.identity.Settings().Servers)
	}
}

// open connects to the engine and brings the network up.
func (r *running) open(ctx context.Context) error {
	docker, err := engine.Connect(ctx, "")
	if err != nil {
		return fmt.Errorf("pods run on a Docker Engine of API %s or newer: start it, or name it by DOCKER_HOST: %w", engine.MinimumAPI, err)
	}
	if err := r.openParts(ctx, docker); err != nil {
		return errors.Join(err, docker.Close())
	}
	r.docker = docker
	return nil
}

func (r *running) openParts(ctx context.Context, docker engine.Docker) error {
	if err := engine.EnsureTools(ctx, false, r.Log); err != nil {
		return err
	}
	s := r.identity.Settings()
	events := event.New(r.mirror, "slipway", r.Log)
	o, err := r.networkOptions()
	if err != nil {
		return err
	}
	o.Recorder = events
	if r.network, err = network.New(o); err != nil {
		return err
	}
	if err := r.network.Up(ctx); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	host, err := r.host(ctx)
	if err != nil {
		return errors.Join(err, r.network.Close())
	}
	r.agent, err = runtime.New(runtime.Options{
		Node: s.Name, Instance: datadir.Instance(r.DataDir), Client: r.mirror, Docker: docker, Network: r.network,
		Followers: []runtime.Follower{r.network}, Dir: r.dir("pods"), HostIP: host, Log: r.Log, Recorder: events, Sandboxes: r.sandboxes(),
	})
	if err != nil {
		return errors.Join(err, r.network.Close())
	}
	return nil
}

// host is where others reach this host, as servers have noted it; invalid: nobody has.
func (r *running) host(ctx context.Context) (netip.Addr, error) {
	s := r.identity.Settings()
	var n corev1.Node
	err := r.mirror.Get(ctx, client.ObjectKey{Name: s.Name}, &n)
	if client.IgnoreNotFound(err) != nil {
		return netip.Addr{}, err
	}
	at := cmp.Or(n.Annotations[api.NodeAddress], s.Address)
	if at == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(at)
}

// sandboxes is what the agent is told: 0 is its default, and none is less.
func (r *running) sandboxes() int {
	if r.Sandboxes == nil {
		return 0
	}
	return cmp.Or(*r.Sandboxes, -1)
}

func (r *running) networkOptions() (network.Options, error) {
	s := r.identity.Settings()
	cluster, err := netip.ParsePrefix(s.Cluster.ClusterNetwork)
	if err != nil {
		return network.Options{}, fmt.Errorf("cluster network: %w", err)
	}
	service, err := netip.ParsePrefix(s.Cluster.ServiceNetwork)
	if err != nil {
		return network.Options{}, fmt.Errorf("service network: %w", err)
	}
	return network.Options{
		Node: s.Name, Client: r.mirror, Dir: r.dir("network"), Name: r.Name,
		ClusterNetwork: cluster, ServiceNetwork: service, Flat: s.Cluster.FlatNetwork, PacketFilter: r.PacketFilter, Log: r.Log,
	}, nil
}
