package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// failureDelay is how long a container that could not be made waits; a change of what
// it refers to wakes it earlier.
const failureDelay = 10 * time.Second

// carryOut decides and does what was decided. What gives the pod a sandbox tells all that it changed, so that it is
// gone on from there without another look.
func (a *Agent) carryOut(ctx context.Context, key loop.Key, r *round) (Plan, error) {
	for {
		p := Decide(r.World)
		if len(p.Actions) > 0 {
			a.Log.Debug("pod", "key", key.String(), "actions", p.String())
		}
		known := len(p.Actions) > 0
		for _, act := range p.Actions {
			if act.Verb != CreateSandbox {
				known = false
				if err := a.execute(ctx, key, r, act); err != nil {
					return p, err
				}
				continue
			}
			whole, err := a.createSandbox(ctx, key, r, act)
			if err != nil {
				return p, err
			}
			known = known && whole
		}
		if !known {
			return p, nil
		}
		r.Now = a.Clock()
	}
}

func (a *Agent) execute(ctx context.Context, key loop.Key, r *round, act Action) error {
	w := r.World
	switch act.Verb {
	case Attach:
		sandbox, _ := w.sandbox()
		return a.attach(ctx, key, w.Pod, sandbox)
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
		return a.startContainer(ctx, key, r, act)
	case ResumeContainer:
		lost, err := a.lostMounts(key, w.Pod)
		if err != nil {
			return err
		}
		if lost {
			return a.removeContainer(ctx, act.ID) // and it is made anew
		}
		done, err := a.startsNow(ctx)
		if err != nil {
			return err
		}
		defer done()
		return a.resume(ctx, key, w.Pod, act)
	case OpenGate:
		return a.letGo(ctx, key, w, act)
	case TellLate:
		a.say(w.Pod, corev1.EventTypeWarning, "HandOverLate", "The pod is stopped although requests may still be led to it by: %s", cmp.Or(act.Why, "everybody, as nobody could be asked"))
		return nil
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

// startContainer makes and starts a container. What is wrong with the pod, not with
// this machine, becomes the reason why the container waits.
func (a *Agent) startContainer(ctx context.Context, key loop.Key, r *round, act Action) error {
	w := r.World
	c, kind := specOf(w.Pod, act.Name)
	done, err := a.startsNow(ctx)
	if err != nil {
		return err
	}
	defer done()
	id, reason, err := a.makeContainer(ctx, key, r, c, kind, act)
	if errdefs.IsNotFound(err) || errdefs.IsUnavailable(err) || ctx.Err() != nil {
		return fmt.Errorf("pod %s: container %s: %w", key, c.Name, err) // The image or the sandbox has gone: look again.
	}
	if err != nil {
		if reason == "ContainerCreating" {
			a.say(w.Pod, corev1.EventTypeWarning, "FailedMount", "%v", err)
		} else {
			a.say(w.Pod, corev1.EventTypeWarning, "Failed", "Error: %v", err)
		}
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
	act.ID = id
	return a.resume(ctx, key, w.Pod, act)
}

// prepare makes the files and the description of a container. On an error, reason is
// the one that its waiting state shows.
func (a *Agent) prepare(ctx context.Context, key loop.Key, w World, c *corev1.Container, kind Kind, act Action) (spec made, reason string, err error) {
	if err := a.allowed(ctx, w.Pod); err != nil {
		return spec, "CreateContainerConfigError", err
	}
	s := a.surroundings(w.Pod)
	dir := a.files.dir(key, w.Pod.UID)
	etc, err := writeEtc(dir, w.Pod, s.addresses.Pod, a.Network.Resolver())
	if err == nil {
		err = s.volumes(ctx, dir)
	}
	if err != nil {
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
	image := w.Images[c.Image]
	in.imageUser = image.User
	if spec, err = containerSpec(w.Pod, c, in); err == nil && sandbox.Pooled {
		gate := a.files.gate(key, w.Pod.UID, kind, c.Name, act.Attempt)
		behindGate(&spec, image, gate, hostname(w.Pod))
		err = makeGate(gate)
	}
	return spec, "CreateContainerConfigError", err
}

func (a *Agent) surroundings(pod *corev1.Pod) surroundings {
	s := surroundings{
		client: a.Client, pod: pod, addresses: Addresses{Host: a.HostIP}, node: a.node.capacity(), read: map[object]map[string]string{},
		files: a.files, mounting: &a.mounting,
	}
	a.remember(pod.UID, func(m *memory) { s.addresses.Pod = m.address })
	return s
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
	asked, hooked := a.Clock(), w.preStops(target)
	since := asked
	if hooked {
		since = asked.Add(lastWords) // Until it is known how long the hook takes.
	}
	a.remember(target.UID, func(m *memory) { m.stopping[act.ID] = since })
	a.say(w.Pod, corev1.EventTypeNormal, "Killing", "Stopping container %s: %s", act.Name, act.Why)
	signal := target.StopSignal
	if signal == "" {
		signal = "SIGTERM"
	}
	a.work.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, act.Grace)
		defer cancel()
		if hooked {
			a.preStop(ctx, w.Pod, target)
			a.grantLastWords(target, asked, act.Grace)
		}
		if err := a.signal(a.ctx, act.ID, signal); err != nil {
			a.Log.Warn("stop container", "pod", key.String(), "container", act.Name, "error", err)
		}
	})
}

// lastWords is how long a container may go on at least after its signal, however much of
// the grace period its pre-stop hook took: as long as a kubelet gives it.
const lastWords = 2 * time.Second

// preStops says that a container has something to do before it is asked to end.
func (w World) preStops(c Container) bool {
	if w.Pod == nil || w.Pod.UID != c.UID {
		return false
	}
	spec, _ := specOf(w.Pod, c.Name)
	return spec != nil && spec.Lifecycle != nil && spec.Lifecycle.PreStop != nil
}

// grantLastWords notes from when on the grace period counts, now that the hook has ended.
func (a *Agent) grantLastWords(c Container, asked time.Time, grace time.Duration) {
	since := a.Clock().Add(lastWords - grace)
	if since.Before(asked) {
		since = asked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.memories[c.UID]; m != nil { // Else the pod is over, and forgotten.
		m.stopping[c.ID] = since
	}
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
		a.pool.drop(id)
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}
