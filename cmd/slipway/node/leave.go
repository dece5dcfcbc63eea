package node

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"slipway.dev/slipway/cmd/slipway/datadir"
	"slipway.dev/slipway/network"
	"slipway.dev/slipway/runtime"
	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/pause"
	"slipway.dev/slipway/state/remote"
)

// Leave takes away what the node made on this host: containers, links, rules, and what it saw of live state. Its identity stays in the
// data directory until somebody removes that, and servers go on knowing it until `slipway node
// remove`.
func Leave(ctx context.Context, c Config) error {
	i, err := remote.Load(c.DataDir)
	if err != nil {
		return err
	}
	lock, err := c.open()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.remember(); err != nil {
		return err
	}
	r := &running{Config: &c, identity: i, conn: remote.Dial(i, c.Log)}
	bare, err := remote.NewClient(r.conn)
	if err != nil {
		return err
	}
	if r.mirror, err = remote.NewMirror(bare, c.dir("seen"), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	// Links and rules go even where the engine, and with it every container, is gone.
	err = emptyEngine(ctx, &c)
	o, netErr := r.networkOptions()
	if netErr != nil {
		return errors.Join(err, netErr)
	}
	driver, netErr := network.New(o)
	if netErr == nil {
		netErr = driver.Down(ctx)
	}
	if err = errors.Join(err, netErr); err != nil {
		return err
	}
	// Secrets of its pods are in what it has seen.
	return os.RemoveAll(c.dir("seen"))
}

func emptyEngine(ctx context.Context, c *Config) error {
	docker, err := engine.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer docker.Close()
	return errors.Join(runtime.Remove(ctx, docker, datadir.Instance(c.DataDir), c.dir("pods")), pause.Remove(ctx, docker))
}
