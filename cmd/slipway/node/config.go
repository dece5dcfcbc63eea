package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"slipway.dev/slipway/cmd/slipway/datadir"
	"slipway.dev/slipway/state/remote"
)

// Config is what `slipway node` is told.
type Config struct {
	// DataDir holds the node's identity, what it last saw of live state, and its pods' files.
	DataDir string
	// Name begins the names of links, tables and chains; empty: the one of before, else slipway.
	Name string
	// Listen is where the node answers servers; empty: the address of before, else DefaultListen.
	Listen string
	// PacketFilter is nftables, iptables or iptables-legacy; empty: that of before, else what the kernel has.
	PacketFilter string
	// Sandboxes is how many sandboxes are kept ready for pods to come, 0: none; nil: as before, else as the agent has it.
	Sandboxes *int
	// NoRegistry leaves the registry's loopback address alone: it is served on this host already.
	NoRegistry bool
	Log        *slog.Logger
}

// local is what only this host knows, beside the identity.
type local struct {
	Name         string `json:"name"`
	Listen       string `json:"listen"`
	PacketFilter string `json:"packetFilter,omitempty"`
	NoRegistry   bool   `json:"noRegistry,omitempty"`
	Sandboxes    *int   `json:"sandboxes,omitempty"`
}

const localFile = "local.json"

// remember takes what Config does not say from an earlier time, and writes down what it says.
func (c *Config) remember() error {
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return err
	}
	var was local
	data, err := os.ReadFile(c.dir(localFile))
	if err == nil {
		err = json.Unmarshal(data, &was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", localFile, err)
	}
	switch {
	case c.Name == "" && was.Name != "":
		c.Name = was.Name
	case c.Name == "":
		c.Name = "slipway"
	case was.Name != "" && was.Name != c.Name:
		return fmt.Errorf("--name: the links and rules of this node are called %s: `slipway node leave` first", was.Name)
	}
	c.NoRegistry = c.NoRegistry || was.NoRegistry
	c.Listen = cmp.Or(c.Listen, was.Listen, DefaultListen)
	c.PacketFilter = cmp.Or(c.PacketFilter, was.PacketFilter)
	if c.Sandboxes == nil {
		c.Sandboxes = was.Sandboxes
	}
	if data, err = json.Marshal(local{c.Name, c.Listen, c.PacketFilter, c.NoRegistry, c.Sandboxes}); err != nil {
		return err
	}
	return os.WriteFile(c.dir(localFile), append(data, '\n'), 0o600)
}

func (c *Config) dir(name string) string { return filepath.Join(c.DataDir, name) }

// open makes the folder and locks it. The caller closes the lock.
func (c *Config) open() (*os.File, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	// Its content is secret also where somebody else made the folder.
	if err := os.Chmod(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	return datadir.Lock(c.DataDir)
}

// Join makes this host a node, and runs it. A host that is one already, of the same name, only runs: the
// token is looked at when there is no identity, or again says so.
func Join(ctx context.Context, c Config, s remote.Settings, token string, again bool) error {
	lock, err := c.open()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.remember(); err != nil {
		return err
	}
	if s.Name == "" {
		if s.Name, err = os.Hostname(); err != nil {
			return err
		}
	}
	if s.Address != "" {
		if _, err := netip.ParseAddr(s.Address); err != nil {
			return fmt.Errorf("--address %q: want the IP address that other hosts reach this one at", s.Address)
		}
	}
	i, err := remote.Load(c.DataDir)
	switch {
	case err == nil && i.Settings().Name == s.Name && !again:
		if was := i.Settings().Address; s.Address != "" && s.Address != was {
			return fmt.Errorf("--address %s: this host joined with %q: say it with --again, and a token", s.Address, was)
		}
		if err := i.SetServers(s.Servers); err != nil {
			return err
		}
	case err == nil || errors.Is(err, remote.ErrNotJoined):
		if i, err = remote.Join(ctx, c.DataDir, s, token); err != nil {
			return err
		}
		c.Log.Info("joined", "node", s.Name, "servers", s.Servers)
	default:
		return err
	}
	return run(ctx, &c, i)
}

// Run runs the node that joined before.
func Run(ctx context.Context, c Config) error {
	if _, err := remote.Load(c.DataDir); err != nil {
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
	i, err := remote.Load(c.DataDir)
	if err != nil {
		return err
	}
	return run(ctx, &c, i)
}
