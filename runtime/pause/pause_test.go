package pause_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/runtime/pause"
)

func TestItEndsAtOnceWhenItIsToldTo(t *testing.T) {
	t.Parallel()
	program, err := pause.Binary(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []string{"TERM", "INT"} {
		cmd := exec.Command(path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		// Signals that it ignores, then the one that ends it.
		poll(t, "it waits", func() bool {
			status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
			return err == nil && strings.Contains(string(status), "State:\tS")
		})
		for _, s := range []string{"HUP", "USR1", "CHLD", signal} {
			if err := exec.Command("kill", "-"+s, strconv.Itoa(cmd.Process.Pid)).Run(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIG%s: %v", signal, err)
		}
	}
}

func TestItReapsOrphans(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	box := enginetest.Busybox(t, docker)
	ref, err := pause.Image(t.Context(), docker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pause.Remove(context.Background(), docker); err != nil {
			t.Error(err)
		}
	})
	if again, err := pause.Image(t.Context(), docker); err != nil || again != ref {
		t.Errorf("a second time it is %s, %v", again, err)
	}
	sandbox := run(t, docker, &container.Config{Image: ref}, &container.HostConfig{NetworkMode: "none"})
	// The shell's grandchild outlives its parent and becomes process 1's child.
	app := run(t, docker, &container.Config{Image: box, Cmd: []string{"sh", "-c", "(sh -c 'echo orphan; sleep 0.2; true' &) ; sleep 1000"}},
		&container.HostConfig{NetworkMode: "none", PidMode: container.PidMode("container:" + sandbox)})
	poll(t, "only pause and the app are left, no zombie", func() bool {
		top, err := docker.ContainerTop(t.Context(), app, []string{"-eo", "pid,stat,args"})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, p := range top.Processes {
			b.WriteString(strings.Join(p, " ") + "\n")
		}
		return !strings.Contains(b.String(), "Z") && !strings.Contains(b.String(), "sleep 0.2")
	})
	if err := docker.ContainerKill(t.Context(), sandbox, "SIGTERM"); err != nil {
		t.Fatal(err)
	}
	poll(t, "it has ended with 0", func() bool {
		c, err := docker.ContainerInspect(t.Context(), sandbox)
		if err != nil {
			t.Fatal(err)
		}
		return !c.State.Running && c.State.ExitCode == 0
	})
}

func run(t *testing.T, docker engine.Docker, config *container.Config, host *container.HostConfig) string {
	t.Helper()
	c, err := docker.ContainerCreate(t.Context(), config, host, nil, nil, "slipway-test-"+rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := docker.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	if err := docker.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
