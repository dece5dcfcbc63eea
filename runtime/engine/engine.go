// Package engine finds or starts the Docker Engine that a node works with.
//
// An engine that answers at DOCKER_HOST, or at unix:///var/run/docker.sock, is used
// as it is and never stopped. Where none answers and the process is root, a private
// one is started below a directory of its own, without a bridge and without packet
// filter rules, and stopped again by Close together with everything it left there.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// MinimumAPI is the oldest Docker API that is spoken: Engine 20.10's.
const MinimumAPI = "1.41"

// Docker is what Slipway asks of an engine. It is the one place where the Docker
// client library shows, so that another library can take its place.
type Docker interface {
	client.ContainerAPIClient
	client.ImageAPIClient
	client.NetworkAPIClient
	client.VolumeAPIClient
	client.SystemAPIClient
	client.HijackDialer
	ClientVersion() string
	DaemonHost() string
	Close() error
}

// Options say which engine is wanted.
type Options struct {
	// Dir is where a private engine keeps its data; default: a new temporary directory.
	// Two engines never share one: the second fails.
	Dir string
	// Keep leaves Dir in place when the private engine is closed.
	Keep bool
	// Install allows Debian's packages to be installed where there is no engine.
	Install bool
	// Log is told what is started; default: nothing is said.
	Log *slog.Logger
}

// Engine is a running engine and a client to it.
type Engine struct {
	Docker
	// Private says that Close stops the engine.
	Private bool

	daemon *daemon
}

// Ensure answers with a running engine: the one that answers, else a private one
// started here, else, with Install, one installed first. Otherwise the error says in
// one sentence what to install.
func Ensure(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	docker, err := Connect(ctx, "")
	if err == nil {
		return &Engine{Docker: docker}, nil
	}
	if os.Getenv("DOCKER_HOST") != "" {
		return nil, fmt.Errorf("DOCKER_HOST is set, but %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, missing(err)
	}
	if !have("dockerd") {
		if !o.Install || !have("apt-get") {
			return nil, missing(err)
		}
		if err := installDebian(ctx, o.Log, packages...); err != nil {
			return nil, err
		}
		// Where an init system runs, the package may have started an engine.
		if docker := await(ctx, "", 10*time.Second, running("/run/systemd/system")); docker != nil {
			return &Engine{Docker: docker}, nil
		}
	}
	return Start(ctx, o)
}

// Start starts a private engine below o.Dir, whether or not another one runs.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d, err := start(o)
	if err != nil {
		return nil, err
	}
	host := "unix://" + d.socket
	docker := await(ctx, host, time.Minute, d.alive)
	if docker == nil {
		err := fmt.Errorf("dockerd below %s did not come up: %s", d.dir, d.lastWords())
		return nil, errors.Join(err, d.stop())
	}
	o.Log.Info("started a private Docker Engine", "host", host)
	return &Engine{Docker: docker, Private: true, daemon: d}, nil
}

// Close stops the engine if it is private: its containers, its processes, its mounts,
// and unless Keep was asked for, its directory. Any other engine keeps running.
func (e *Engine) Close() error {
	err := e.Docker.Close()
	if e.daemon != nil {
		err = errors.Join(err, e.daemon.stop())
	}
	return err
}

// Connect makes a client to the engine at host, e.g. unix:///run/docker.sock; empty:
// DOCKER_HOST or the default socket. It fails if none answers or it is older than
// [MinimumAPI].
func Connect(ctx context.Context, host string) (Docker, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		opts = []client.Opt{client.WithHost(host), client.WithAPIVersionNegotiation()}
	}
	c, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("Docker Engine: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ping, err := c.Ping(ctx)
	if err == nil && versions.LessThan(ping.APIVersion, MinimumAPI) {
		err = fmt.Errorf("Docker API %s is older than %s (Docker Engine 20.10)", ping.APIVersion, MinimumAPI)
	}
	if err != nil {
		_ = c.Close()
		if c.DaemonHost() == client.DefaultDockerHost {
			err = errors.Join(err, staleBelow("/var/run"))
		}
		return nil, fmt.Errorf("no usable Docker Engine at %s: %w", c.DaemonHost(), err)
	}
	c.NegotiateAPIVersionPing(ping)
	return c, nil
}

// await polls until an engine answers at host, while alive says that it may.
func await(ctx context.Context, host string, limit time.Duration, alive func() bool) Docker {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for alive() {
		if c, err := Connect(ctx, host); err == nil {
			return c
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func missing(cause error) error {
	return fmt.Errorf("install and start Docker Engine 20.10 or newer, as root on Debian with `apt-get install %s`, or set DOCKER_HOST (%w)", list(packages), cause)
}

func have(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func running(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}
