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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/runtime/pause"
	"slipway.dev/slipway/state/loop"
)

// failureDelay is how long a container that could not be made waits; a change of what
// it refers to wakes it earlier.
const failureDelay = 10 * time.Second

func (a *Agent) execute(ctx context.Context, key loop.Key, w World, act Action) error {
	switch act.Verb {
	case CreateSandbox:
		if err := a.starting.Acquire(ctx, 1); err != nil {
			return err
		}
		defer a.starting.Release(1)
		return a.createSandbox(ctx, key, w.Pod, act)
	case Attach:
		return a.attach(ctx, key, w)
	case Detach:
		if err := a.Network.Detach(ctx, key); err != nil {
			return fmt.Errorf("pod %s: detach from the network: %w", key, err)
		}
		return nil
	case PullImage:
		c, _ := specOf(w.Pod, act.Name)
		a.remember(w.Pod.UID, func(m *memory) {
			if _, asked := m.wanted[act.Name]; !asked {
				m.wanted[act.Name] = a.Clock()
			}
		})
		a.pull(w.Pod, c.Image)
		return nil
	case StartContainer:
		if err := a.starting.Acquire(ctx, 1); err != nil {
			return err
		}
		defer a.starting.Release(1)
		return a.startContainer(ctx, key, w, act)
	case ResumeContainer:
		lost, err := a.lostMounts(key, w.Pod)
		if err != nil {
			return err
		}
		if lost {
			return a.removeContainer(ctx, act.ID) // and it is made anew
		}
		return a.resume(ctx, w.Pod, act.ID, act.Name)
	case StopContainer:
		a.stopContainer(key, w, act)
		return nil
	case KillContainer:
		a.touch(act.ID)
		a.say(w.Pod, corev1.EventTypeNormal, "Killing", "Killing container %s: %s", act.Name, act.Why)
		return a.signal(ctx, act.ID, "SIGKILL")
	case RemoveContainer:
		return a.removeContainer(ctx, act.ID)
	case RemoveFiles, ClearFiles:
		return a.removeFiles(key, act)
	case DeletePod:
		return a.deletePod(ctx, w.Pod)
	}
	return fmt.Errorf("pod %s: unknown action %q", key, act.Verb)
}

func (a *Agent) deletePod(ctx context.Context, pod *corev1.Pod) error {
	err := a.Client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	a.remember(pod.UID, func(m *memory) { m.deleted = true })
	return nil
}

// say tells people about a pod; one that is gone has no events.
func (a *Agent) say(pod *corev1.Pod, eventtype, reason, format string, args ...any) {
	if pod != nil {
		a.Recorder.Event(pod, eventtype, reason, format, args...)
	}
}

func specOf(pod *corev1.Pod, name string) (*corev1.Container, Kind) {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i], Init
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i], App
		}
	}
	return nil, ""
}

func (a *Agent) createSandbox(ctx context.Context, key loop.Key, pod *corev1.Pod, act Action) error {
	if act.Attempt > 0 {
		a.say(pod, corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	// The directory first: it is the record that there may be something to clear.
	if err := os.MkdirAll(a.files.dir(key, pod.UID), 0o700); err != nil {
		return fmt.Errorf("pod %s: %w", key, err)
	}
	image, err := pause.Image(ctx, a.Docker)
	if err != nil {
		return fmt.Errorf("pod %s: %w", key, err)
	}
	spec := sandboxSpec(a.Instance, image, pod, act.Attempt)
	id, err := a.create(ctx, spec, containerName(a.Instance, pod, Sandbox, "", act.Attempt))
	if err == nil {
		err = a.Docker.ContainerStart(ctx, id, container.StartOptions{})
	}
	if err != nil {
		a.say(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
		a.Log.Warn("create sandbox", "pod", key.String(), "error", err)
		delay := min(250*time.Millisecond<<min(act.Attempt, 8), time.Minute)
		a.remember(pod.UID, func(m *memory) {
			m.failures[string(Sandbox)] = Failure{Reason: "ContainerCreating", Message: err.Error(), Retry: a.Clock().Add(delay)}
		})
	}
	return nil
}

// create makes a container, or finds the one that was made before a crash.
func (a *Agent) create(ctx context.Context, m made, name string) (string, error) {
	c, err := a.Docker.ContainerCreate(ctx, m.Config, m.Host, nil, nil, name)
	if !errdefs.IsConflict(err) {
		return c.ID, err
	}
	old, inspectErr := a.Docker.ContainerInspect(ctx, name)
	if inspectErr != nil {
		return "", errors.Join(err, inspectErr)
	}
	for k, v := range m.Config.Labels {
		if old.Config.Labels[k] != v {
			return "", errors.Join(err, a.removeContainer(ctx, old.ID))
		}
	}
	return old.ID, nil
}

func (a *Agent) attach(ctx context.Context, key loop.Key, w World) error {
	sandbox, _ := w.sandbox()
	address, err := a.Network.Attach(ctx, key, sandbox.PID)
	if err != nil {
		a.say(w.Pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to attach the pod to the network: %v", err)
		return fmt.Errorf("pod %s: attach to the network: %w", key, err)
	}
	a.remember(w.Pod.UID, func(m *memory) { m.attached, m.address = sandbox.ID, address })
	return nil
}

// startContainer makes and starts a container. What is wrong with the pod, not with
// this machine, becomes the reason why the container waits.
func (a *Agent) startContainer(ctx context.Context, key loop.Key, w World, act Action) error {
	c, kind := specOf(w.Pod, act.Name)
	spec, reason, err := a.prepare(ctx, key, w, c, kind, act)
	var id string
	if err == nil {
		reason = "CreateContainerError"
		id, err = a.create(ctx, spec, containerName(a.Instance, w.Pod, kind, c.Name, act.Attempt))
	}
	if errdefs.IsNotFound(err) || errdefs.IsUnavailable(err) || ctx.Err() != nil {
		return fmt.Errorf("pod %s: container %s: %w", key, c.Name, err) // The image or the sandbox has gone: look again.
	}
	if err != nil {
		a.say(w.Pod, corev1.EventTypeWarning, "Failed", "Error: %v", err)
		a.remember(w.Pod.UID, func(m *memory) {
			m.failures[c.Name] = Failure{Reason: reason, Message: err.Error(), Retry: a.Clock().Add(failureDelay)}
		})
		return nil
	}
	if _, asked := w.Wanted[c.Name]; !asked {
		a.say(w.Pod, corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine", c.Image)
	}
	a.remember(w.Pod.UID, func(m *memory) {
		delete(m.failures, c.Name)
		delete(m.wanted, c.Name)
	})
	if last, found := w.latest(kind, c.Name); found && act.Attempt > 0 {
		a.say(w.Pod, corev1.EventTypeNormal, "Restarting", "Container %s ended with exit code %d and is started again", c.Name, last.ExitCode)
	}
	if err := a.ledger.use(c.Image, a.Clock()); err != nil {
		a.Log.Warn("note an image's use", "image", c.Image, "error", err)
	}
	a.say(w.Pod, corev1.EventTypeNormal, "Created", "Created container %s", c.Name)
	return a.resume(ctx, w.Pod, id, c.Name)
}

// prepare makes the files and the description of a container. On an error, reason is
// the one that its waiting state shows.
func (a *Agent) prepare(ctx context.Context, key loop.Key, w World, c *corev1.Container, kind Kind, act Action) (spec made, reason string, err error) {
	s := a.surroundings(w.Pod)
	dir := a.files.dir(key, w.Pod.UID)
	etc, err := writeEtc(dir, w.Pod, s.addresses.Pod, a.Network.Resolver())
	if err == nil {
		err = s.volumes(ctx, dir)
	}
	if err != nil {
		a.say(w.Pod, corev1.EventTypeWarning, "FailedMount", "%v", err)
		return spec, "ContainerCreating", err
	}
	sandbox, _ := w.sandbox()
	in := inputs{instance: a.Instance, kind: kind, action: act, sandbox: sandbox.ID}
	if in.env, err = s.environment(ctx, c); err != nil {
		return spec, "CreateContainerConfigError", err
	}
	if in.mounts, err = mountsOf(dir, w.Pod, c, in.env, etc); err != nil {
		return spec, "CreateContainerConfigError", err
	}
	in.machine = s.node.Memory().Value()
	in.message = messageFile(dir, kind, c.Name, act.Attempt)
	if err := makeMessageFile(in.message); err != nil {
		return spec, "CreateContainerError", err
	}
	image, err := a.Docker.ImageInspect(ctx, c.Image)
	if err != nil {
		return spec, "CreateContainerError", err
	}
	if image.Config != nil {
		in.imageUser = image.Config.User
	}
	spec, err = containerSpec(w.Pod, c, in)
	return spec, "CreateContainerConfigError", err
}

func (a *Agent) surroundings(pod *corev1.Pod) surroundings {
	s := surroundings{
		client: a.Client, pod: pod, addresses: Addresses{Host: a.HostIP}, node: a.node.capacity(), read: map[object]map[string]string{},
	}
	a.remember(pod.UID, func(m *memory) { s.addresses.Pod = m.address })
	return s
}

// resume starts a container that was made.
func (a *Agent) resume(ctx context.Context, pod *corev1.Pod, id, name string) error {
	err := a.Docker.ContainerStart(ctx, id, container.StartOptions{})
	if err == nil {
		a.say(pod, corev1.EventTypeNormal, "Started", "Started container %s", name)
		return nil
	}
	c, inspectErr := a.Docker.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(inspectErr) {
		return nil
	}
	if inspectErr != nil || observed(c).State == Created {
		return errors.Join(fmt.Errorf("container %s: %w", name, err), inspectErr)
	}
	// Docker keeps the failure with the container, which now counts as exited.
	a.say(pod, corev1.EventTypeWarning, "Failed", "Error: failed to start container %q: %v", name, err)
	return nil
}

// stopContainer asks a container to stop: its pre-stop hook, then its stop signal. It
// does not wait; [Decide] has it killed when its grace is over.
func (a *Agent) stopContainer(key loop.Key, w World, act Action) {
	var target Container
	for _, c := range w.Containers {
		if c.ID == act.ID {
			target = c
		}
	}
	a.touch(act.ID)
	a.remember(target.UID, func(m *memory) { m.stopping[act.ID] = a.Clock() })
	a.say(w.Pod, corev1.EventTypeNormal, "Killing", "Stopping container %s: %s", act.Name, act.Why)
	signal := target.StopSignal
	if signal == "" {
		signal = "SIGTERM"
	}
	a.work.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, act.Grace)
		defer cancel()
		if w.Pod != nil && w.Pod.UID == target.UID {
			a.preStop(ctx, w.Pod, target)
		}
		if err := a.signal(a.ctx, act.ID, signal); err != nil {
			a.Log.Warn("stop container", "pod", key.String(), "container", act.Name, "error", err)
		}
	})
}

// signal sends a signal; a container that does not run is as good.
func (a *Agent) signal(ctx context.Context, id, signal string) error {
	err := a.Docker.ContainerKill(ctx, id, signal)
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("container %.12s: %w", id, err)
}

func (a *Agent) removeContainer(ctx context.Context, id string) error {
	a.touch(id)
	err := a.Docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}
