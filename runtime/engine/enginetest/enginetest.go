// Package enginetest gives tests a real Docker Engine: the machine's, or where none
// runs, a private one that all test binaries share while any of them needs it.
package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/scratch"
)

// Client returns a client to a running engine. A private engine that was started for
// it is stopped after the last test that uses it.
func Client(t testing.TB) engine.Docker {
	t.Helper()
	docker, err := engine.Connect(t.Context(), "")
	if err == nil {
		t.Cleanup(func() { _ = docker.Close() })
		return docker
	}
	if os.Getenv("DOCKER_HOST") != "" {
		t.Fatal(err)
	}
	docker, err = private.acquire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(docker.Close(), private.release()); err != nil {
			t.Error(err)
		}
	})
	return docker
}

// Busybox loads an image with a static busybox (sh, httpd, nc, wget …) for this test
// and returns its name; it is removed at the test's end, so call it before anything
// that makes containers.
func Busybox(t testing.TB, docker engine.Docker) string {
	t.Helper()
	files, err := scratch.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	// The label makes the image this test's own: removing it never takes one away that
	// another test, in another process, loads at the same moment.
	ref := "slipway-test/busybox:" + rand.Text()
	config := scratch.BusyboxConfig
	config.Labels = map[string]string{"slipway.dev/test": ref}
	if _, err := scratch.Load(t.Context(), docker, ref, files, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := docker.ImageRemove(ctx, ref, image.RemoveOptions{}); err != nil {
			t.Errorf("remove image %s: %v", ref, err)
		}
	})
	return ref
}

// shared is the private engine as this process sees it. Across processes, whoever
// uses it holds a shared lock on the file "users", and whoever looks at, starts or
// stops it holds an exclusive one on the file "door".
type shared struct {
	mu    sync.Mutex // guards all below
	count int
	users *os.File
	own   *engine.Engine
	host  string
}

var private shared

func (s *shared) acquire() (engine.Docker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := context.Background()
	if s.count == 0 {
		if err := s.enter(ctx); err != nil {
			return nil, err
		}
	}
	docker, err := engine.Connect(ctx, s.host)
	if err == nil {
		s.count++
	}
	return docker, err
}

func (s *shared) enter(ctx context.Context) error {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("slipway-enginetest-%d", os.Geteuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	door, err := lock(filepath.Join(dir, "door"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer door.Close()
	if s.users, err = lock(filepath.Join(dir, "users"), syscall.LOCK_SH); err != nil {
		return err
	}
	address := filepath.Join(dir, "host")
	if host, err := os.ReadFile(address); err == nil {
		if docker, err := engine.Connect(ctx, string(host)); err == nil {
			s.host = string(host)
			return docker.Close()
		}
	}
	s.own, err = engine.Ensure(ctx, engine.Options{})
	if err != nil {
		return errors.Join(err, s.users.Close())
	}
	s.host = s.own.DaemonHost()
	return os.WriteFile(address, []byte(s.host), 0o600)
}

// release stops the engine after its last user in any process; the process that
// started it waits for the others.
func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count--; s.count > 0 {
		return nil
	}
	if err := s.users.Close(); err != nil || s.own == nil {
		return err
	}
	dir := filepath.Dir(s.users.Name())
	for {
		door, err := lock(filepath.Join(dir, "door"), syscall.LOCK_EX)
		if err != nil {
			return err
		}
		users, err := lock(s.users.Name(), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			err := errors.Join(os.Remove(filepath.Join(dir, "host")), s.own.Close(), users.Close(), door.Close())
			s.own = nil
			return err
		}
		_ = door.Close()
		time.Sleep(50 * time.Millisecond)
	}
}

func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
