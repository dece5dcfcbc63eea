package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"

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
	if err := h.guard(); err != nil {
		return err
	}
	if err := h.forgetEngine(); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d", h.lab.group(), h.number)
	return h.launch(Engine, "dockerd",
		"--data-root", filepath.Join(h.dir(), "docker"), "--exec-root", filepath.Join(h.runDir(), "exec"),
		"--host", h.Socket(), "--pidfile", filepath.Join(h.runDir(), "pid"), "--cgroup-parent", "/"+h.lab.group()+"/"+h.Name,
		"--containerd-namespace", name, "--containerd-plugins-namespace", name+"-plugins",
		"--bridge", "none", "--iptables=false", "--ip-masq=false", "--userland-proxy=false", "--log-level", "warn")
}

// forgetEngine removes what a killed predecessor left: files with the numbers of its
// processes, which by now may be others' or those of zombies, for which dockerd would wait.
func (h *Host) forgetEngine() error {
	containerd := func() []int {
		return processes(func(environ, argv []string) bool {
			return contains(environ, partMarker+"="+h.Name+"/"+string(Engine)) && contains(environ, h.lab.mark()) && filepath.Base(argv[0]) == "containerd"
		})
	}
	if err := kill(containerd); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(filepath.Join(h.runDir(), "pid")), os.RemoveAll(filepath.Join(h.runDir(), "exec", "containerd", "containerd.pid")))
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
	if _, err := from.ImageInspect(ctx, image); errdefs.IsNotFound(err) {
		return fmt.Errorf("this machine's Docker Engine has no image %s: pull or build it first", image)
	} else if err != nil {
		return err
	}
	return l.each(func(h *Host) error {
		if err := h.load(ctx, from, image); err != nil {
			return fmt.Errorf("load %s into host %s: %w", image, h.Name, err)
		}
		return nil
	})
}

func (h *Host) load(ctx context.Context, from engine.Docker, image string) error {
	tar, err := from.ImageSave(ctx, []string{image})
	if err != nil {
		return err
	}
	defer tar.Close()
	return h.LoadArchive(ctx, tar)
}

// LoadArchive loads an image from what `docker save` writes.
func (h *Host) LoadArchive(ctx context.Context, tar io.Reader) error {
	to, err := h.Docker(ctx)
	if err != nil {
		return err
	}
	defer to.Close()
	answer, err := to.ImageLoad(ctx, tar)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	// The answer is read to its end: it may say there that it failed.
	for messages := json.NewDecoder(answer.Body); ; {
		var m struct {
			Error string `json:"error"`
		}
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}
