package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// PowerOff ends the host as a power cut does: every process at once, those in containers, too, and with them
// what the kernel of a machine forgets: links and rules. The disk stays.
func (h *Host) PowerOff() error {
	if err := kill(func() []int {
		pids := processes(func(environ, _ []string) bool {
			return contains(environ, h.lab.mark()) && slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, partMarker+"="+h.Name+"/") })
		})
		own := filepath.Join(h.lab.group(), h.Name)
		return append(pids, inside(slices.DeleteFunc(h.lab.groups(), func(g string) bool { return !strings.Contains(g+"/", "/"+own+"/") }))...)
	}); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	_, err := h.Run("nft", "flush", "ruleset")
	return errors.Join(err, h.Do(removeInside))
}

// removeInside removes every link of the network namespace but those of the host itself.
func removeInside() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		if name := l.Attrs().Name; name != "lo" && name != "eth0" {
			errs = append(errs, removeLink(name))
		}
	}
	return errors.Join(errs...)
}

// PowerOn starts what the host runs, after [Host.PowerOff]. It returns before the node is Ready.
func (h *Host) PowerOn(ctx context.Context) error { return h.Start(ctx) }

// Parts are those that the host has, in the order in which they are started.
func (h *Host) Parts() []Part {
	parts := []Part{Engine}
	if h.Member {
		parts = append(parts, Etcd)
	}
	if h.Server {
		return append(parts, Server)
	}
	return append(parts, Agent)
}

// Start starts the parts of the host that do not run. It returns before the node is Ready.
func (h *Host) Start(ctx context.Context) error {
	for _, part := range h.Parts() {
		if h.Runs(part) {
			continue
		}
		var err error
		switch part {
		case Engine:
			err = h.StartEngine(ctx)
		case Etcd:
			err = h.StartEtcd(ctx)
		case Server:
			err = h.StartServer(ctx)
		case Agent:
			err = h.StartAgent()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
