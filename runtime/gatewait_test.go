package runtime

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"slipway.dev/slipway/runtime/engine/enginetest"
)

// A machine with much to do starts a container long before its process is what it is to be.
func TestAProcessThatIsLateAtItsGate(t *testing.T) {
	t.Parallel()
	docker := enginetest.Client(t)
	image := enginetest.Busybox(t, docker)
	for name, c := range map[string]struct {
		script string
		comes  bool
		code   int64
	}{
		"late":  {"sleep 1; exec " + gateMount + "/start " + gateMount + "/fifo /bin/sh '' sh -c 'exit 7'", true, 7},
		"never": {"sleep 1", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := makeGate(dir); err != nil {
				t.Fatal(err)
			}
			made, err := docker.ContainerCreate(t.Context(), &container.Config{Image: image, Entrypoint: []string{"sh", "-c", c.script}},
				&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: gateMount, ReadOnly: true}}}, nil, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := docker.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			})
			ended, failed := docker.ContainerWait(t.Context(), made.ID, container.WaitConditionNextExit)
			if err := docker.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
				t.Fatal(err)
			}
			i, err := docker.ContainerInspect(t.Context(), made.ID)
			if err != nil {
				t.Fatal(err)
			}
			pid := i.State.Pid
			there := Container{State: Running, PID: pid, Program: "sh"}
			if err := readGate(dir, &there); err != nil || !there.Held {
				t.Errorf("an agent that begins now takes it for one that went through: %v", err)
			}
			came, err := comesToGate(t.Context(), docker, made.ID, dir, pid)
			if err != nil || came != c.comes {
				t.Fatalf("it comes: %v, %v", came, err)
			}
			if came {
				if why, err := openGate(t.Context(), dir, there, "web"); why != "" || err != nil {
					t.Fatalf("the gate: %q, %v", why, err)
				}
				if err := readGate(dir, &there); err != nil || there.Held {
					t.Errorf("it went through, and is taken for one that waits: %v", err)
				}
			}
			select {
			case end := <-ended:
				if end.StatusCode != c.code {
					t.Errorf("it ended with %d, not %d", end.StatusCode, c.code)
				}
			case err := <-failed:
				t.Fatal(err)
			case <-time.After(time.Minute):
				t.Fatal("it goes on")
			}
		})
	}
}
