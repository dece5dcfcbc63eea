package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"slipway.dev/slipway/runtime/engine"
)

// patience is how long a part may take to come up.
const patience = time.Minute

// startEngine starts the host's dockerd. Where this machine runs no containerd of its own, dockerd starts one
// beside it; otherwise it uses the machine's, under names of its own.
func (h *Host) startEngine() error {
	if err := os.MkdirAll(h.runDir(), 0o711); err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir(), 0o711); err != nil {
		return err
	}
	// What a killed predecessor left; by now its number may be another process's.
	if err := os.RemoveAll(filepath.Join(h.runDir(), "pid")); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d", h.lab.group(), h.number)
	return h.launch(Engine, "dockerd",
		"--data-root", filepath.Join(h.dir(), "docker"), "--exec-root", filepath.Join(h.runDir(), "exec"),
		"--host", h.Socket(), "--pidfile", filepath.Join(h.runDir(), "pid"), "--cgroup-parent", "/"+h.lab.group()+"/"+h.Name,
		"--containerd-namespace", name, "--containerd-plugins-namespace", name+"-plugins",
		"--bridge", "none", "--iptables=false", "--ip-masq=false", "--userland-proxy=false", "--log-level", "warn")
}

// Docker is a client of the host's engine, which answers. The caller closes it.
func (h *Host) Docker(ctx context.Context) (engine.Docker, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		docker, err := engine.Connect(ctx, h.Socket())
		if err == nil {
			return docker, nil
		}
		if ctx.Err() != nil || !h.Runs(Engine) {
			return nil, fmt.Errorf("host %s: dockerd did not come up: %w: %s", h.Name, err, h.lastWords(Engine))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// StartEngine starts the host's Docker Engine again after it was killed, and waits for it.
func (h *Host) StartEngine(ctx context.Context) error {
	if err := h.startEngine(); err != nil {
		return err
	}
	docker, err := h.Docker(ctx)
	if err != nil {
		return err
	}
	return docker.Close()
}

// Load copies an image from the Docker Engine of this machine to every host.
func (l *Lab) Load(ctx context.Context, from engine.Docker, image string) error {
	for i := range l.Hosts {
		if err := l.Hosts[i].load(ctx, from, image); err != nil {
			return fmt.Errorf("load %s into host %s: %w", image, l.Hosts[i].Name, err)
		}
	}
	return nil
}

func (h *Host) load(ctx context.Context, from engine.Docker, image string) error {
	to, err := h.Docker(ctx)
	if err != nil {
		return err
	}
	defer to.Close()
	tar, err := from.ImageSave(ctx, []string{image})
	if err != nil {
		return err
	}
	defer tar.Close()
	return loadTar(ctx, to, tar)
}
