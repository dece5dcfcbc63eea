package demo

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"slipway.dev/slipway/runtime/engine"
)

// The repositories of the base images on the engine, where the tag tells demos apart that
// run at the same time; in the registry they are images/<name>.
const (
	busyboxImage  = "slipway-demo-busybox"
	shellWebImage = "slipway-demo-shell-web"
)

func (s *story) tagged(repository string) string { return repository + ":" + s.place.name }

// prepare sees to an engine, the tools, and the base images.
func (s *story) prepare(ctx context.Context) error {
	s.print.say("Slipway's story, on this machine. What it needs is set up first.")
	var err error
	if s.place, err = freePlace(); err != nil {
		return err
	}
	if err := engine.EnsureTools(ctx, true, s.Log); err != nil {
		return err
	}
	e, err := engine.Ensure(ctx, engine.Options{Dir: filepath.Join(s.Dir, "engine"), Install: true, Log: s.Log})
	if err != nil {
		return err
	}
	s.engine = e
	kind := "the Docker Engine that runs here"
	if e.Private {
		kind = "a Docker Engine of its own, which ends with it"
	}
	s.print.say("It uses %s, and keeps its data in %s.\n", kind, s.Dir)
	return s.baseImages(ctx)
}

// baseImages makes the two images that the shop is built from, out of this machine's
// static busybox: no image hub is asked.
func (s *story) baseImages(ctx context.Context) error {
	exe, err := staticBusybox()
	if err != nil {
		return err
	}
	busybox, err := s.example("images/busybox")
	if err != nil {
		return err
	}
	busybox["busybox"] = exe
	if err := s.imageBuild(ctx, s.tagged(busyboxImage), busybox, nil); err != nil {
		return err
	}
	shellWeb, err := s.example("images/shell-web")
	if err != nil {
		return err
	}
	base := s.tagged(busyboxImage)
	return s.imageBuild(ctx, s.tagged(shellWebImage), shellWeb, map[string]*string{"BASE": &base})
}

func staticBusybox() ([]byte, error) {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if data, err := os.ReadFile(p); err == nil {
			return data, nil
		}
	}
	return nil, errors.New("no static busybox on this machine: install the package busybox-static")
}

// example reads an example's files.
func (s *story) example(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(s.Examples, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(s.Examples, name)
		files[strings.TrimPrefix(name, dir+"/")] = data
		return err
	})
	return files, err
}

func (s *story) imageBuild(ctx context.Context, tag string, files map[string][]byte, args map[string]*string) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, data := range files {
		mode := int64(0o644)
		if name == "busybox" || bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: path.Clean(name), Mode: mode, Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	res, err := s.engine.ImageBuild(ctx, &buf, build.ImageBuildOptions{
		Tags: []string{tag}, BuildArgs: args, Remove: true, ForceRemove: true, NetworkMode: "none",
	})
	if err != nil {
		return fmt.Errorf("build image %s: %w", tag, err)
	}
	defer res.Body.Close()
	return drainMessages(res.Body)
}

func drainMessages(body io.Reader) error {
	d := json.NewDecoder(body)
	for {
		var m struct{ Error string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

// pushBase pushes the base images into Slipway's registry with an ordinary push.
func (s *story) pushBase(ctx context.Context) error {
	auth, err := s.pushCredentials()
	if err != nil {
		return err
	}
	for from, to := range map[string]string{s.tagged(busyboxImage): "busybox", s.tagged(shellWebImage): "shell-web"} {
		ref := loopback(s.server.ports.registry) + "/images/" + to + ":latest"
		if err := s.engine.ImageTag(ctx, from, ref); err != nil {
			return err
		}
		body, err := s.engine.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: auth})
		if err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
		err = drainMessages(body)
		body.Close()
		if err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
		if _, err := s.engine.ImageRemove(ctx, ref, image.RemoveOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) pushCredentials() (string, error) {
	out, err := s.slipway("registry-login", "--data-dir", s.dataDir())
	if err != nil {
		return "", err
	}
	user, password, _ := strings.Cut(strings.TrimSpace(out), ":")
	return registry.EncodeAuthConfig(registry.AuthConfig{Username: user, Password: password})
}

// slipway runs a command of Slipway's own as a user would.
func (s *story) slipway(args ...string) (string, error) {
	cmd := exec.Command(s.Executable, args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "SLIPWAY_SERVER="+s.server.url())
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("slipway %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}

// cleanUp takes away everything that the demo made.
func (s *story) cleanUp(removeDir bool) error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.stop())
	}
	if s.engine != nil {
		if s.server != nil {
			out, err := s.slipwayDown()
			if err != nil {
				errs = append(errs, fmt.Errorf("%w: %s", err, out))
			}
		}
		for _, ref := range []string{s.tagged(shellWebImage), s.tagged(busyboxImage)} {
			_, err := s.engine.ImageRemove(context.Background(), ref, image.RemoveOptions{})
			if err != nil && !cerrdefs.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, s.engine.Close())
	}
	if removeDir {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}

func (s *story) slipwayDown() (string, error) {
	cmd := exec.Command(s.Executable, "down", "--data-dir", s.dataDir())
	cmd.Env = s.environment()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// environment of the server: the engine that the story found.
func (s *story) environment() []string {
	return append(os.Environ(), "DOCKER_HOST="+s.engine.DaemonHost())
}
