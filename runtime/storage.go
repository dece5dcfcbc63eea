package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// measureEvery is how often what pods wrote is compared with what they may.
	measureEvery = 20 * time.Second
	// evictionGrace is how long a pod that wrote too much may take to stop.
	evictionGrace = time.Second
)

// bounded says whether anything limits what the pod writes to the node's disk.
func bounded(pod *corev1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if e := v.EmptyDir; e != nil && e.Medium != corev1.StorageMediumMemory && e.SizeLimit != nil && e.SizeLimit.Sign() > 0 {
			return true
		}
	}
	for _, c := range pod.Spec.Containers {
		if _, limited := c.Resources.Limits[corev1.ResourceEphemeralStorage]; limited {
			return true
		}
	}
	return false
}

// written is what a pod wrote to the node's disk, in bytes.
type written struct {
	volumes    map[string]int64 // its emptyDir volumes
	containers map[string]int64 // their own file systems and logs
	// own is what it made of the files that it is given, such as /etc/hosts.
	own int64
	// files are those in its volumes, counted.
	files int64
	// unmeasured says why more cannot be known; empty: all is.
	unmeasured string
}

// tooMuch says in the kubelet's words which limit the pod exceeds; empty: none.
func tooMuch(pod *corev1.Pod, w written) string {
	if w.unmeasured != "" {
		return "Usage of its volumes cannot be told: " + w.unmeasured + "."
	}
	sum, total := w.own, int64(0)
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir == nil || v.EmptyDir.Medium == corev1.StorageMediumMemory {
			continue
		}
		sum += w.volumes[v.Name]
		if l := v.EmptyDir.SizeLimit; l != nil && l.Sign() > 0 && w.volumes[v.Name] > l.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q.", v.Name, l.String())
		}
	}
	all := true
	for _, c := range pod.Spec.Containers {
		sum += w.containers[c.Name]
		limit, limited := c.Resources.Limits[corev1.ResourceEphemeralStorage]
		all = all && limited
		total += limit.Value()
		if limited && w.containers[c.Name] > limit.Value() {
			return fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q.", c.Name, limit.String())
		}
	}
	if all && sum > total {
		return fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s.", resource.NewQuantity(total, resource.BinarySI))
	}
	return ""
}

// measureStorage evicts the pods that wrote more than they may.
func (a *Agent) measureStorage(ctx context.Context) error {
	var pods []*corev1.Pod
	a.mu.Lock()
	for _, m := range a.memories {
		if m.bounded != nil && m.evicted == "" {
			pods = append(pods, m.bounded)
		}
	}
	a.mu.Unlock()
	var errs []error
	for _, pod := range pods {
		w, err := a.written(ctx, pod)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if why := tooMuch(pod, w); why != "" {
			a.evict(pod, why)
		}
	}
	return errors.Join(errs...)
}

func (a *Agent) evict(pod *corev1.Pod, why string) {
	a.remember(pod.UID, func(m *memory) { m.evicted = why })
	a.say(pod, corev1.EventTypeWarning, "Evicted", "%s", why)
	a.wake(client.ObjectKeyFromObject(pod))
}

func (a *Agent) written(ctx context.Context, pod *corev1.Pod) (w written, err error) {
	w = written{volumes: map[string]int64{}, containers: map[string]int64{}}
	dir := a.files.dir(client.ObjectKeyFromObject(pod), pod.UID)
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory {
			n, err := size(filepath.Join(dir, "volumes", v.Name))
			if errors.Is(err, errTooDeep) {
				w.unmeasured = fmt.Sprintf("in %q %v", v.Name, err)
			} else if err != nil {
				return w, err
			}
			w.volumes[v.Name] = n.bytes
			w.files += n.files
		}
	}
	for _, given := range []string{"etc", "messages"} {
		n, err := size(filepath.Join(dir, given))
		if err != nil {
			return w, err
		}
		w.own += n.bytes
	}
	// Those that have ended, too: one that ends again and again is never seen to run.
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", LabelUID+"="+string(pod.UID)))})
	if err != nil {
		return w, err
	}
	for _, c := range list {
		name := c.Labels[LabelContainer]
		if Kind(c.Labels[LabelKind]) == Sandbox {
			continue
		}
		n, err := a.layer(ctx, c.ID)
		switch {
		case errdefs.IsNotFound(err):
			continue
		case errors.Is(err, errTooDeep):
			w.unmeasured = fmt.Sprintf("in container %s %v", name, err)
		case err != nil:
			return w, err
		}
		w.containers[name] = max(w.containers[name], n)
	}
	return w, nil
}

// layer is what a container wrote into its own file system, into the volumes that its image
// asks for, and into its log, in bytes.
func (a *Agent) layer(ctx context.Context, id string) (n int64, err error) {
	i, _, err := a.Docker.ContainerInspectWithRaw(ctx, id, true)
	if err != nil {
		return 0, err
	}
	if log, err := os.Stat(i.LogPath); err == nil {
		n = log.Size()
	}
	for _, m := range i.Mounts {
		if m.Type == mount.TypeVolume {
			of, err := size(m.Source)
			if err != nil {
				return 0, err
			}
			n += of.bytes
		}
	}
	if i.SizeRw != nil && *i.SizeRw >= 0 {
		return n + *i.SizeRw, nil
	}
	// The engine could not tell, as where a path is too long for it.
	upper := i.GraphDriver.Data["UpperDir"]
	if upper == "" {
		return n, nil
	}
	below, err := size(upper)
	return n + below.bytes, err
}

// noteBounds has the pod measured from now on, or not.
func (a *Agent) noteBounds(pod *corev1.Pod) (evicted string) {
	a.remember(pod.UID, func(m *memory) {
		m.bounded = nil
		if pod.DeletionTimestamp == nil && !ended(pod) && bounded(pod) {
			m.bounded = pod
		}
		evicted = m.evicted
	})
	return evicted
}
