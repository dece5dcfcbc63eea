package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network"
	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/reconciler/autoscale"
	"slipway.dev/slipway/reconciler/build"
	"slipway.dev/slipway/reconciler/deploy"
	"slipway.dev/slipway/reconciler/image"
	"slipway.dev/slipway/reconciler/job"
	nodecare "slipway.dev/slipway/reconciler/node"
	"slipway.dev/slipway/reconciler/project"
	"slipway.dev/slipway/reconciler/schedule"
	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/reconciler/storage"
	"slipway.dev/slipway/reconciler/subnet"
	"slipway.dev/slipway/reconciler/workload"
	"slipway.dev/slipway/registry"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/render/secrets"
	"slipway.dev/slipway/router"
	node "slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/builder"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/sources"
	"slipway.dev/slipway/state/loop"
)

// parts are the parts that have a life of their own.
type parts struct {
	sources    *sources.Sources
	renderer   *render.Renderer
	reconciler *reconciler.Reconciler
	builds     *build.Controller
	pushes     sink
	registry   *registry.Registry
	router     *router.Router
	network    *network.Driver
	agent      *node.Agent
	builder    *builder.Builder

	// deciding are the controllers that one server of several runs; driving those that
	// each runs; own those of its own node, which read live state as that sees it.
	deciding, driving, own []loop.Controller
}

func (s *server) openParts(ctx context.Context) error {
	for _, open := range []func(context.Context) error{
		s.openSources, s.openReconciler, s.openRegistry, s.openRouter, s.openNode,
	} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) openReconciler(context.Context) error {
	p := &s.parts
	own, err := secrets.OwnKeys(os.Getenv)
	if err != nil {
		return err
	}
	p.renderer = render.New(render.Options{
		Ledger: ledger.Ledger{Client: s.client}, Log: s.log,
		Keyring: secrets.Keyring{Client: s.client, System: api.SystemProject, Own: own},
	})
	s.closing(func() error { p.renderer.Close(); return nil })
	p.reconciler = &reconciler.Reconciler{
		Client: s.client, Sources: p.sources, Render: renderer{p.renderer}, Events: s.events, Log: s.log,
		Registry: s.cfg.Registry, Applier: applier{s.client}, History: p.sources, Merges: p.sources,
	}
	if s.cfg.Target != "" {
		target, err := openTarget(s.cfg.Target)
		if err != nil {
			return err
		}
		p.reconciler.Target = target
	}
	p.builds = build.New(build.Deps{Client: s.client, Events: s.events, Log: s.log})
	images := image.Deps{Client: s.client, Events: s.events, Log: s.log, Registry: s.cfg.Registry, Commits: p.sources}
	p.pushes = sink{image.NewSink(images)}
	for _, list := range [][]loop.Controller{
		p.reconciler.Controllers(),
		p.builds.Controllers(),
		image.Controllers(images),
		deploy.Controllers(deploy.Deps{Client: s.client, Events: s.events, Log: s.log}),
		job.Controllers(job.Deps{Client: s.client, Events: s.events, Log: s.log}),
		autoscale.Controllers(autoscale.Deps{Client: s.client, Events: s.events, Log: s.log, Metrics: metrics{s}}),
		workload.Controllers(workload.Deps{Client: s.client, Events: s.events, Log: s.log}),
		project.Controllers(project.Deps{Client: s.client, Events: s.events, Log: s.log}),
		subnet.Controllers(subnets(s)),
		storage.Controllers(storage.Deps{Client: s.client, Events: s.events, Log: s.log}),
		nodecare.Controllers(nodecare.Deps{Client: s.client, Events: s.events, Log: s.log}),
		schedule.Controllers(schedule.Deps{Client: s.client, Events: s.events, Log: s.log}),
		service.Controllers(service.Deps{Client: s.client, Events: s.events, Log: s.log, Network: s.cfg.serviceNetwork,
			External: s.cfg.externalNetworks, Ingress: s.cfg.ingressNetwork}),
	} {
		p.deciding = append(p.deciding, list...)
	}
	return nil
}

func (s *server) openRegistry(context.Context) (err error) {
	s.parts.registry, err = registry.New(registry.Options{Dir: s.cfg.registryDir(), Sink: s.parts.pushes, Log: s.log})
	if err != nil {
		return err
	}
	s.closing(s.parts.registry.Close)
	return nil
}

// replayPushes tells the image streams of what was pushed while they could not be told.
func (s *server) replayPushes(ctx context.Context) error {
	return s.parts.registry.Walk(ctx, func(p registry.Push) error {
		if err := s.parts.pushes.Pushed(ctx, p); err != nil {
			s.log.Warn("a pushed tag is not in its image stream", "repository", p.Repository, "tag", p.Tag, "error", err)
		}
		return nil
	})
}

func (s *server) openRouter(context.Context) (err error) {
	s.parts.router, err = router.New(router.Options{
		Client: s.client, HTTP: s.cfg.Router, HTTPS: s.cfg.RouterTLS, Suffix: s.cfg.Domain, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.parts.driving = append(s.parts.driving, s.parts.router.Controllers()...)
	return nil
}

// openNode connects to the engine, brings the network up, and makes the agent and the builder.
func (s *server) openNode(ctx context.Context) error {
	docker, err := engine.Connect(ctx, "")
	if err != nil {
		return fmt.Errorf("pods run on a Docker Engine of API %s or newer: start it, or name it by DOCKER_HOST: %w", engine.MinimumAPI, err)
	}
	s.closing(docker.Close)
	if err := engine.EnsureTools(ctx, false, s.log); err != nil {
		return err
	}
	p := &s.parts
	if p.network, err = newNetwork(s); err != nil {
		return err
	}
	if err := p.network.Up(ctx); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	s.closing(p.network.Close)
	p.agent, err = node.New(node.Options{
		Node: s.cfg.Node, Instance: s.cfg.instance(), Client: s.live, Docker: docker, Network: p.network,
		Followers: []node.Follower{p.network, p.router}, Dir: s.cfg.dir("pods"), Log: s.log, Recorder: s.events, Sandboxes: cmp.Or(s.cfg.Sandboxes, -1),
	})
	if err != nil {
		return err
	}
	p.builder = builder.New(builder.Options{
		Node: s.cfg.Node, Client: s.client, Docker: docker, Sources: p.sources, Events: s.events, Log: s.log,
		Dir: s.cfg.dir("builds"), Pulls: p.agent.Pulls, Registry: func() builder.Registry {
			user, password := p.registry.BuilderAuth()
			return builder.Registry{Host: s.cfg.Registry, User: user, Password: password}
		},
	})
	p.own = append(p.network.Controllers(), p.agent.Controllers()...)
	p.driving = append(append(p.driving, p.builder.Controllers()...), s.announce())
	return nil
}

func newNetwork(s *server) (*network.Driver, error) {
	return network.New(network.Options{
		Node: s.cfg.Node, Client: s.live, Dir: s.cfg.dir("network"), Name: s.cfg.Name,
		ClusterNetwork: s.cfg.clusterNetwork, ServiceNetwork: s.cfg.serviceNetwork, Flat: s.cfg.FlatNetwork, PacketFilter: s.cfg.PacketFilter,
		Subnet:    claimedSubnet(s),
		HostPorts: ports(s.parts.router.HTTPAddr(), s.parts.router.HTTPSAddr()),
		Recorder:  s.events, Log: s.log,
	})
}

func ports(addresses ...netip.AddrPort) []uint16 {
	var out []uint16
	for _, a := range addresses {
		if a.Port() != 0 {
			out = append(out, a.Port())
		}
	}
	return out
}

// Instance tells the containers of a data directory from those of another one on the
// same engine.
func Instance(dataDir string) string { return filepath.Base(dataDir) + "-" + short(dataDir) }

func (c *Config) instance() string { return Instance(c.DataDir) }

func short(s string) string {
	h := uint32(2166136261)
	for _, b := range []byte(s) {
		h = (h ^ uint32(b)) * 16777619
	}
	return strconv.FormatUint(uint64(h), 16)
}

// loopbackURL is where a process of this machine reaches an address that is listened on.
func loopbackURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	if port == "" {
		return "", errors.New("no port")
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
