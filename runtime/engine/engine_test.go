package engine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/engine/enginetest"
	"slipway.dev/slipway/runtime/scratch"
)

func TestTheMachinesEngineIsUsedAndLeftRunning(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	again, err := engine.Connect(t.Context(), docker.DaemonHost())
	if err != nil {
		t.Fatal(err)
	}
	e := &engine.Engine{Docker: again}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.Info(t.Context()); err != nil {
		t.Fatalf("the engine is gone: %v", err)
	}
}

func TestPrivateEngineRunsContainersAndLeavesNothing(t *testing.T) {
	t.Parallel()
	// A path too long for a Unix socket: the engine has to find a shorter one.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30))
	e, err := engine.Start(t.Context(), engine.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	info := startContainer(t, e)
	if info.DockerRootDir != filepath.Join(dir, "data") {
		t.Errorf("it is not a private engine: data below %s", info.DockerRootDir)
	}
	if _, err := engine.Start(t.Context(), engine.Options{Dir: dir}); err == nil {
		t.Error("a second engine took the directory of the first")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, e.DaemonHost())
}

func TestAnEngineThatWasKilledIsClearedByTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperStartsAnEngine$")
	helper.Env = append(os.Environ(), "ENGINE_DIR="+dir)
	if out, err := helper.CombinedOutput(); err == nil {
		t.Fatalf("the helper should have been killed: %s", out)
	}
	e, err := engine.Start(t.Context(), engine.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	startContainer(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, e.DaemonHost())
}

// TestHelperStartsAnEngine is the process that the test above kills: it does nothing
// unless it is told a directory.
func TestHelperStartsAnEngine(t *testing.T) {
	dir := os.Getenv("ENGINE_DIR")
	if dir == "" {
		return
	}
	e, err := engine.Start(t.Context(), engine.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	startContainer(t, e)
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(strings.TrimPrefix(e.DaemonHost(), "unix://")), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	// First the daemon, so that its containers survive it, then itself.
	if err := exec.Command("kill", "-9", strings.TrimSpace(string(pid))).Run(); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	_ = self.Kill()
	select {}
}

func startContainer(t *testing.T, e *engine.Engine) system.Info {
	t.Helper()
	files, err := scratch.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scratch.Load(t.Context(), e, "busybox:test", files, scratch.BusyboxConfig); err != nil {
		t.Fatal(err)
	}
	c, err := e.ContainerCreate(t.Context(), &container.Config{Image: "busybox:test", Cmd: []string{"sleep", "1000"}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := e.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func nothingLeft(t *testing.T, dir, host string) {
	t.Helper()
	run := filepath.Dir(strings.TrimPrefix(host, "unix://"))
	for _, d := range []string{dir, run} {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("%s is left", d)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mounts), d+"/") {
			t.Errorf("mounts below %s are left", d)
		}
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), filepath.Base(run)) {
			t.Errorf("a process is left: %s", strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}
