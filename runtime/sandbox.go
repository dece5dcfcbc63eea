package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime/pause"
	"slipway.dev/slipway/state/loop"
)

// round is one look at a pod's world and what follows from it.
type round struct {
	World
	// made are containers, by name, that were made while their sandbox was: they are to be
	// started.
	made map[string]string
}

// createSandbox gives the pod a sandbox, ready or new, and a network, and makes the pod's first
// containers meanwhile. known: what it brought about is in the round.
func (a *Agent) createSandbox(ctx context.Context, key loop.Key, r *round, act Action) (known bool, err error) {
	pod := r.Pod
	if act.Attempt > 0 {
		a.say(pod, corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	if err := a.allowed(ctx, pod); err != nil {
		a.refuse(key, pod, err)
		return false, nil
	}
	done, err := a.startsNow(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	// The directory first: it is the record that there may be something to clear.
	if err := os.MkdirAll(a.files.dir(key, pod.UID), 0o700); err != nil {
		return false, fmt.Errorf("pod %s: %w", key, err)
	}
	sandbox, err := a.ready(key, pod, act)
	if err == nil && sandbox.ID == "" {
		sandbox, err = a.makeSandbox(ctx, pod, act)
	}
	if err != nil {
		a.sandboxFailed(key, pod, act, err)
		return false, nil
	}
	ahead := make(chan map[string]string, 1)
	go func(sandbox Container) { ahead <- a.makeAhead(ctx, key, r.World, sandbox) }(sandbox)
	if sandbox.State != Running {
		sandbox, err = a.startSandbox(ctx, sandbox)
	}
	if err != nil {
		<-ahead
		a.sandboxFailed(key, pod, act, err)
		return false, nil
	}
	err = a.attach(ctx, key, pod, sandbox)
	r.made = <-ahead
	r.Containers, r.Attached = append(r.Containers, sandbox), sandbox.ID
	return err == nil, err
}

func (a *Agent) sandboxFailed(key loop.Key, pod *corev1.Pod, act Action, err error) {
	a.say(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
	a.Log.Warn("create sandbox", "pod", key.String(), "error", err)
	delay := min(250*time.Millisecond<<min(act.Attempt, 8), time.Minute)
	a.remember(pod.UID, func(m *memory) {
		m.failures[string(Sandbox)] = Failure{Reason: "ContainerCreating", Message: err.Error(), Retry: a.Clock().Add(delay)}
	})
}

// ready takes a sandbox out of the pool, if the pod may have one and there is one; else it has no id. One
// whose processes see each other has a sandbox of its own, which is allowed more of them; so has one with a
// namespace of the host.
func (a *Agent) ready(key loop.Key, pod *corev1.Pod, act Action) (Container, error) {
	s := &pod.Spec
	if share := s.ShareProcessNamespace; share != nil && *share || s.HostNetwork || s.HostPID || s.HostIPC {
		return Container{}, nil
	}
	idle, found := a.pool.take(owner{key, pod.UID}, containerName(a.Instance, pod, Sandbox, "", act.Attempt))
	if !found {
		return Container{}, nil
	}
	if err := a.files.claim(a.files.dir(key, pod.UID), claim{idle.id, act.Attempt}); err != nil {
		a.pool.drop(idle.id) // Nobody's: it is looked at again.
		return Container{}, err
	}
	return Container{ID: idle.id, UID: pod.UID, Kind: Sandbox, Attempt: act.Attempt, State: Running, PID: idle.pid, Pooled: true}, nil
}

// makeSandbox makes a sandbox for the pod; it does not run yet.
func (a *Agent) makeSandbox(ctx context.Context, pod *corev1.Pod, act Action) (Container, error) {
	image, err := a.pauseImage(ctx)
	if err != nil {
		return Container{}, err
	}
	spec := sandboxSpec(a.Instance, image, pod, act.Attempt)
	id, err := a.create(ctx, spec, containerName(a.Instance, pod, Sandbox, "", act.Attempt))
	return Container{ID: id, UID: pod.UID, Kind: Sandbox, Attempt: act.Attempt, State: Created}, a.withoutImage(err)
}

func (a *Agent) startSandbox(ctx context.Context, s Container) (Container, error) {
	if err := a.Docker.ContainerStart(ctx, s.ID, container.StartOptions{}); err != nil {
		return s, err
	}
	c, err := a.Docker.ContainerInspect(ctx, s.ID)
	if err != nil {
		return s, err
	}
	if s = observed(c); s.State != Running {
		return s, errors.New("it has ended at once")
	}
	return s, nil
}

// pauseImage is the image of sandboxes, which the engine is seen to have once.
func (a *Agent) pauseImage(ctx context.Context) (string, error) {
	if ref := a.pauseRef.Load(); ref != nil {
		return *ref, nil
	}
	ref, err := pause.Image(ctx, a.Docker)
	if err == nil {
		a.pauseRef.Store(&ref)
	}
	return ref, err
}

// withoutImage passes on why a sandbox could not be made. If somebody removed its image, the next try makes it
// anew.
func (a *Agent) withoutImage(err error) error {
	if errdefs.IsNotFound(err) {
		a.pauseRef.Store(nil)
	}
	return err
}

// attach connects the pod's sandbox to the network.
func (a *Agent) attach(ctx context.Context, key loop.Key, pod *corev1.Pod, sandbox Container) error {
	if pod.Spec.HostNetwork {
		a.remember(pod.UID, func(m *memory) { m.attached, m.address = sandbox.ID, a.HostIP })
		return nil
	}
	address, err := a.Network.Attach(ctx, key, sandbox.PID)
	if ports := api.HostPortsOf(pod); err == nil && len(ports) > 0 {
		err = a.Network.Publish(ctx, key, ports)
	}
	if err != nil {
		a.say(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to attach the pod to the network: %v", err)
		return fmt.Errorf("pod %s: attach to the network: %w", key, err)
	}
	a.remember(pod.UID, func(m *memory) { m.attached, m.address = sandbox.ID, address })
	return nil
}

// makeAhead makes the containers that are to be started as soon as the sandbox is there. What does
// not succeed is tried again in its turn, and then said.
func (a *Agent) makeAhead(ctx context.Context, key loop.Key, w World, sandbox Container) map[string]string {
	done := map[string]string{}
	sandbox.State = Running
	w.Containers, w.Attached = append(w.Containers[:len(w.Containers):len(w.Containers)], sandbox), sandbox.ID
	for _, act := range Decide(w).Actions {
		c, kind := specOf(w.Pod, act.Name)
		if act.Verb != StartContainer || knowsAddress(c) {
			continue
		}
		spec, _, err := a.prepare(ctx, key, w, c, kind, act)
		if err != nil {
			break
		}
		id, err := a.create(ctx, spec, containerName(a.Instance, w.Pod, kind, c.Name, act.Attempt))
		if err != nil {
			break
		}
		done[c.Name] = id
	}
	return done
}

// knowsAddress says whether the container's environment has the pod's address in it.
func knowsAddress(c *corev1.Container) bool {
	for _, e := range c.Env {
		if f := e.ValueFrom; f != nil && f.FieldRef != nil && (f.FieldRef.FieldPath == "status.podIP" || f.FieldRef.FieldPath == "status.podIPs") {
			return true
		}
	}
	return false
}

// claimed reads the sandbox of the pool that a pod has.
func (a *Agent) claimed(ctx context.Context, key loop.Key, uid types.UID) (c Container, found bool, err error) {
	taken, err := a.files.claimed(key, uid)
	if err != nil || taken.ID == "" {
		return c, false, err
	}
	i, err := a.Docker.ContainerInspect(ctx, taken.ID)
	if errdefs.IsNotFound(err) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("pod %s: inspect sandbox %.12s: %w", key, taken.ID, err)
	}
	a.pool.own(taken.ID, owner{key, uid})
	c = observed(i)
	c.UID, c.Kind, c.Attempt, c.Pooled = uid, Sandbox, taken.Attempt, true
	return c, true, nil
}
