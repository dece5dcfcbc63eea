package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
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
}

// tooMuch says in the kubelet's words which limit the pod exceeds; empty: none.
func tooMuch(pod *corev1.Pod, w written) string {
	var sum, total int64
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
			a.remember(pod.UID, func(m *memory) { m.evicted = why })
			a.say(pod, corev1.EventTypeWarning, "Evicted", "%s", why)
			a.wake(client.ObjectKeyFromObject(pod))
		}
	}
	return errors.Join(errs...)
}

func (a *Agent) written(ctx context.Context, pod *corev1.Pod) (w written, err error) {
	w = written{map[string]int64{}, map[string]int64{}}
	dir := a.files.dir(client.ObjectKeyFromObject(pod), pod.UID)
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory {
			if w.volumes[v.Name], err = size(filepath.Join(dir, "volumes", v.Name)); err != nil {
				return w, err
			}
		}
	}
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelUID+"="+string(pod.UID)))})
	if err != nil {
		return w, err
	}
	for _, c := range list {
		if Kind(c.Labels[LabelKind]) == Sandbox {
			continue
		}
		i, _, err := a.Docker.ContainerInspectWithRaw(ctx, c.ID, true)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return w, err
		}
		if i.SizeRw != nil {
			w.containers[c.Labels[LabelContainer]] += *i.SizeRw
		}
		if log, err := os.Stat(i.LogPath); err == nil {
			w.containers[c.Labels[LabelContainer]] += log.Size()
		}
	}
	return w, nil
}

// size is what the files below a directory take on the disk, in bytes. What goes away
// meanwhile is not counted; links are not followed.
func size(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				if s, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() {
					sum += s.Blocks * 512
				}
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
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
