package runtime

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// maxRounds bounds how often one Reconcile looks, decides and acts; a pod's start
// takes three rounds and one per init container.
const maxRounds = 50

// reconcile brings a pod nearer to what is wanted until there is nothing to do now.
func (a *Agent) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	for range maxRounds {
		w, err := a.observe(ctx, key)
		if err != nil {
			return loop.Result{}, err
		}
		r := round{World: w}
		p, err := a.carryOut(ctx, key, &r)
		if err != nil {
			return loop.Result{}, err
		}
		w = r.World
		if len(p.Actions) == 0 {
			a.refresh(ctx, key, w)
			err := a.report(ctx, key, w, p)
			if apierrors.IsConflict(err) {
				// The pod changed since it was read: look again.
				return loop.Result{After: time.Millisecond}, nil
			}
			return loop.Result{After: p.After}, err
		}
	}
	return loop.Result{}, fmt.Errorf("pod %s does not settle", key)
}

// observe reads everything that [Decide] looks at. What cannot be read is an error,
// never absent.
func (a *Agent) observe(ctx context.Context, key loop.Key) (World, error) {
	w := World{Now: a.Clock(), Drain: a.Drain}
	var pod corev1.Pod
	switch err := a.Client.Get(ctx, key, &pod); {
	case err == nil && pod.Spec.NodeName == a.Node:
		w.Pod = &pod
	case err != nil && !apierrors.IsNotFound(err):
		return w, err
	}
	var err error
	if w.Files, err = a.files.uids(key); err != nil {
		return w, err
	}
	if w.Containers, err = a.containers(ctx, key); err != nil {
		return w, err
	}
	a.observeMemory(key, &w)
	w.Health = a.health(key, w)
	if w.Pod != nil {
		w.Evicted = a.noteBounds(w.Pod)
	}
	if w.Pod != nil && ended(w.Pod) {
		if w.Leftovers, err = a.files.leftovers(key, w.Pod.UID); err != nil {
			return w, err
		}
	}
	if w.Pod != nil && w.Pod.DeletionTimestamp == nil && !ended(w.Pod) {
		a.refs.note(key, w.Pod)
		err = a.observeImages(ctx, &w)
	}
	return w, err
}

// containers reads the containers with the pod's name that are this agent's, and those of the pool
// that its directories say are its.
func (a *Agent) containers(ctx context.Context, key loop.Key) ([]Container, error) {
	uids, err := a.files.uids(key)
	if err != nil {
		return nil, err
	}
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", LabelInstance+"="+a.Instance),
		filters.Arg("label", LabelNamespace+"="+key.Namespace),
		filters.Arg("label", LabelPod+"="+key.Name),
	)})
	if err != nil {
		return nil, fmt.Errorf("pod %s: list containers: %w", key, err)
	}
	var all []Container
	for _, c := range list {
		i, err := a.Docker.ContainerInspect(ctx, c.ID)
		if err == nil {
			i, err = a.settled(ctx, i)
		}
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pod %s: inspect container %.12s: %w", key, c.ID, err)
		}
		c := observed(i)
		if c.Program != "" {
			if err := readGate(a.files.gate(key, c.UID, c.Kind, c.Name, c.Attempt), &c); err != nil {
				return nil, fmt.Errorf("pod %s: container %s: %w", key, c.Name, err)
			}
		}
		if c.State == Exited && c.Kind != Sandbox {
			c.Message = a.message(ctx, key, c)
		}
		all = append(all, c)
	}
	for _, uid := range uids {
		c, found, err := a.claimed(ctx, key, uid)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, c)
		}
	}
	return all, nil
}

// observeMemory adds what the agent remembers of the pod and of others of its name.
func (a *Agent) observeMemory(key loop.Key, w *World) {
	w.Stopping = map[string]time.Time{}
	there := map[string]bool{}
	for _, c := range w.Containers {
		there[c.ID] = true
		a.remember(c.UID, func(m *memory) {
			m.key = key
			if since, asked := m.stopping[c.ID]; asked {
				w.Stopping[c.ID] = since
			}
		})
	}
	if w.Pod == nil {
		return
	}
	// One that ends again and again leaves nothing behind here, either.
	a.remember(w.Pod.UID, func(m *memory) {
		maps.DeleteFunc(m.messages, func(id, _ string) bool { return !there[id] })
		maps.DeleteFunc(m.stopping, func(id string, _ time.Time) bool { return !there[id] })
	})
	a.remember(w.Pod.UID, func(m *memory) {
		m.key = key
		if w.Pod.DeletionTimestamp != nil && m.deletionSeen.IsZero() {
			m.deletionSeen = w.Now
		}
		if len(a.Followers) == 0 {
			m.handedOver = m.deletionSeen // nothing ever led to it
		}
		w.HandedOver, w.Holders, w.Asked = m.handedOver, m.holders, m.ask
		w.DeletionSeen, w.Deleted, w.Attached = m.deletionSeen, m.deleted, m.attached
		w.Failures, w.Wanted = maps.Clone(m.failures), maps.Clone(m.wanted)
	})
}

// observeImages looks at the images of the containers that do not run.
func (a *Agent) observeImages(ctx context.Context, w *World) error {
	w.Images = map[string]Image{}
	for kind, specs := range map[Kind][]corev1.Container{Init: w.Pod.Spec.InitContainers, App: w.Pod.Spec.Containers} {
		for _, c := range specs {
			if o, found := w.latest(kind, c.Name); found && o.State == Running {
				continue
			}
			if _, seen := w.Images[c.Image]; seen {
				continue
			}
			image, err := a.image(ctx, client.ObjectKeyFromObject(w.Pod), c.Image)
			if err != nil {
				return err
			}
			w.Images[c.Image] = image
		}
	}
	return nil
}

// refresh brings the volumes of a running pod up to date with what they are made of. A
// volume whose source has gone keeps its content.
func (a *Agent) refresh(ctx context.Context, key loop.Key, w World) {
	if len(w.probed()) == 0 {
		return
	}
	s := a.surroundings(w.Pod)
	for _, v := range w.Pod.Spec.Volumes {
		if v.EmptyDir != nil || v.PersistentVolumeClaim != nil || v.HostPath != nil {
			continue
		}
		if err := s.volume(ctx, filepath.Join(a.files.dir(key, w.Pod.UID), "volumes", v.Name), v); err != nil {
			a.Log.Warn("volume stays as it is", "pod", key.String(), "volume", v.Name, "error", err)
		}
	}
}

// report writes the pod's status if it changed, and lets go of what is known of a pod
// that is no more.
func (a *Agent) report(ctx context.Context, key loop.Key, w World, p Plan) error {
	if w.Pod == nil {
		a.refs.note(key, nil)
		a.forget(key)
		return nil
	}
	addresses := Addresses{Host: a.HostIP}
	a.remember(w.Pod.UID, func(m *memory) { addresses.Pod = m.address })
	status := Status(w, p, addresses)
	if equality.Semantic.DeepEqual(status, w.Pod.Status) {
		return nil
	}
	next := w.Pod.DeepCopy()
	next.Status = status
	err := a.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(w.Pod, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		a.tellBackOff(w.Pod, status)
	}
	return err
}

// tellBackOff says which containers begin to wait before they are tried again.
func (a *Agent) tellBackOff(pod *corev1.Pod, now corev1.PodStatus) {
	waits := func(statuses ...[]corev1.ContainerStatus) map[string]string {
		reasons := map[string]string{}
		for _, s := range slices.Concat(statuses...) {
			if s.State.Waiting != nil {
				reasons[s.Name] = s.State.Waiting.Reason
			}
		}
		return reasons
	}
	before := waits(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for name, reason := range waits(now.InitContainerStatuses, now.ContainerStatuses) {
		switch c, _ := specOf(pod, name); {
		case reason == before[name], c == nil:
		case reason == "CrashLoopBackOff":
			a.say(pod, corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s", name)
		case reason == "ImagePullBackOff":
			a.say(pod, corev1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.Image)
		}
	}
}
