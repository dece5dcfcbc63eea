package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/state/loop"
)

// startsNow waits for a turn to start something, and returns what ends it.
func (a *Agent) startsNow(ctx context.Context) (done func(), err error) {
	noted := a.busy.begin()
	if err := a.starting.Acquire(ctx, 1); err != nil {
		noted()
		return nil, err
	}
	return func() { a.starting.Release(1); noted() }, nil
}

// makeContainer makes a container, unless it was made while its sandbox was. On an error, reason is the
// one that its waiting state shows.
func (a *Agent) makeContainer(ctx context.Context, key loop.Key, r *round, c *corev1.Container, kind Kind, act Action) (id, reason string, err error) {
	if id := r.made[c.Name]; id != "" {
		delete(r.made, c.Name)
		return id, "", nil
	}
	spec, reason, err := a.prepare(ctx, key, r.World, c, kind, act)
	if err != nil {
		return "", reason, err
	}
	id, err = a.create(ctx, spec, containerName(a.Instance, r.Pod, kind, c.Name, act.Attempt))
	return id, "CreateContainerError", err
}

// resume starts a container that was made.
func (a *Agent) resume(ctx context.Context, key loop.Key, pod *corev1.Pod, act Action) error {
	// The pod may have had no address yet when its files were written.
	if _, err := writeEtc(a.files.dir(key, pod.UID), pod, a.surroundings(pod).addresses.Pod, a.Network.Resolver()); err != nil {
		return fmt.Errorf("pod %s: container %s: %w", key, act.Name, err)
	}
	if err := a.Docker.ContainerStart(ctx, act.ID, container.StartOptions{}); err != nil {
		return a.notStarted(ctx, pod, act, err)
	}
	sandbox, err := a.files.claimed(key, pod.UID)
	if err == nil && sandbox.ID != "" {
		err = a.openGateOf(ctx, key, pod, act.ID)
	}
	var failed gateError
	if errors.As(err, &failed) {
		a.say(pod, corev1.EventTypeWarning, "Failed", "Error: failed to start container %q: %v", act.Name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("pod %s: container %s: %w", key, act.Name, err)
	}
	a.say(pod, corev1.EventTypeNormal, "Started", "Started container %s", act.Name)
	return nil
}

// notStarted looks at what became of a container that the engine did not start.
func (a *Agent) notStarted(ctx context.Context, pod *corev1.Pod, act Action, err error) error {
	c, inspectErr := a.Docker.ContainerInspect(ctx, act.ID)
	if errdefs.IsNotFound(inspectErr) {
		return nil
	}
	if inspectErr != nil || observed(c).State == Created {
		return errors.Join(fmt.Errorf("container %s: %w", act.Name, err), inspectErr)
	}
	// Docker keeps the failure with the container, which now counts as exited.
	a.say(pod, corev1.EventTypeWarning, "Failed", "Error: failed to start container %q: %v", act.Name, err)
	return nil
}

// gateError says why a container's program could not be begun behind its gate.
type gateError string

func (e gateError) Error() string { return string(e) }

// openGateOf lets a container go on that was just started, if it began at a gate.
func (a *Agent) openGateOf(ctx context.Context, key loop.Key, pod *corev1.Pod, id string) error {
	i, err := a.Docker.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c := observed(i)
	if c.Program == "" || c.State != Running {
		return nil
	}
	dir := a.files.gate(key, pod.UID, c.Kind, c.Name, c.Attempt)
	if came, err := comesToGate(ctx, a.Docker, id, dir, c.PID); err != nil || !came {
		return err
	}
	failed, err := openGate(ctx, dir, c, hostname(pod))
	if err == nil && failed != "" {
		return gateError(failed)
	}
	return err
}

// gatePatience is how long a process may take from its start to its gate.
const gatePatience = 10 * time.Second

// comesToGate waits until the process of a container that was just started is at its gate: the
// engine says that it has started it while it is still the engine's own. False: it has ended.
func comesToGate(ctx context.Context, docker engine.Docker, id, dir string, pid int) (bool, error) {
	began := time.Now()
	for wait := time.Millisecond; !waitsAtGate(dir, pid); wait = min(2*wait, 100*time.Millisecond) {
		i, err := docker.ContainerInspect(ctx, id)
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if c := observed(i); c.State != Running || c.PID != pid {
			return false, nil
		}
		if time.Since(began) > gatePatience {
			return false, fmt.Errorf("container %.12s has not come to its gate in %s", id, gatePatience)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
	}
	return true, nil
}

// letGo opens the gate of a container that an agent before this one left waiting.
func (a *Agent) letGo(ctx context.Context, key loop.Key, w World, act Action) error {
	err := a.openGateOf(ctx, key, w.Pod, act.ID)
	var failed gateError
	if errors.As(err, &failed) {
		a.say(w.Pod, corev1.EventTypeWarning, "Failed", "Error: failed to start container %q: %v", act.Name, err)
		return nil
	}
	return err
}
