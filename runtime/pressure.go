package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sweep makes room on the engine's disk when it is fuller than DiskHigh: first of what
// ended containers left, then of images that nothing uses.
func (a *Agent) sweep(ctx context.Context) error {
	return errors.Join(a.sweepContainers(ctx), a.sweepImages(ctx))
}

// sweepContainers removes containers that have ended and of which only the logs are
// left: those of pods that have ended, and those that others took the place of. The
// oldest goes first, until the engine's disk is not fuller than DiskLow.
func (a *Agent) sweepContainers(ctx context.Context) error {
	info, err := a.Docker.Info(ctx)
	if err != nil {
		return err
	}
	d, err := diskOf(info.DockerRootDir)
	if err != nil || d.percent() <= a.DiskHigh {
		return err
	}
	spare, err := a.spareContainers(ctx)
	if err != nil {
		return err
	}
	for _, id := range spare {
		if err := a.removeContainer(ctx, id); err != nil {
			return err
		}
		if d, err = diskOf(info.DockerRootDir); err != nil || d.percent() <= a.DiskLow {
			return err
		}
	}
	return nil
}

// spareContainers are the ids of the containers that are kept for their logs only, the
// oldest first.
func (a *Agent) spareContainers(ctx context.Context) ([]string, error) {
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", LabelInstance+"="+a.Instance)),
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(x, y container.Summary) int { return cmp.Compare(x.Created, y.Created) })
	newest := map[string]int{}
	for _, c := range list {
		newest[seatOf(c.Labels)] = max(newest[seatOf(c.Labels)], attemptOf(c.Labels))
	}
	var ids []string
	for _, c := range list {
		if Kind(c.Labels[LabelKind]) == Sandbox || c.State != container.StateExited && c.State != container.StateDead {
			continue
		}
		var pod corev1.Pod
		err := a.Client.Get(ctx, keyOf(c.Labels), &pod)
		if apierrors.IsNotFound(err) {
			continue // It is about to be cleared with all that it has.
		}
		if err != nil {
			return nil, err
		}
		// Not told by times of creation, which are whole seconds.
		replaced := attemptOf(c.Labels) < newest[seatOf(c.Labels)]
		if string(pod.UID) == c.Labels[LabelUID] && (ended(&pod) || replaced) {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

// seatOf is what all attempts at one container of a pod have in common.
func seatOf(labels map[string]string) string {
	return labels[LabelUID] + "/" + labels[LabelKind] + "/" + labels[LabelContainer]
}

// relieve evicts a pod when a disk that pods write to is fuller than DiskEvict, and
// removing what nobody needs does not help: else one that writes without end would take
// the room of all, live state and the agent among them. Who wrote little is spared:
// ending it would free nothing.
func (a *Agent) relieve(ctx context.Context) error {
	engine := a.node.engineRoot()
	if engine == "" || a.litter.going.Load() {
		return nil // The engine is not known yet; or there will be room.
	}
	full, err := fullDisk(engine, a.files.root, a.DiskEvict)
	if err != nil || full == nil {
		return err
	}
	if err := a.sweep(ctx); err != nil {
		return err
	}
	if full, err = fullDisk(engine, a.files.root, a.DiskEvict); err != nil || full == nil {
		return err
	}
	users, err := a.diskUsers(ctx, *full)
	if err != nil {
		return err
	}
	u, found := worst(users)
	if !found {
		a.Log.Warn("a disk is full, and no pod that could be ended wrote much of it", "percent", full.percent())
		return nil
	}
	a.evict(u.pod, fmt.Sprintf(lowOnResource+": ephemeral-storage. Pod was using %s in %d files, request is %s.",
		resource.NewQuantity(u.used.bytes, resource.BinarySI), u.used.files, resource.NewQuantity(u.request, resource.BinarySI)))
	return nil
}

// fullness is a disk that is too full, and what of a pod is on it.
type fullness struct {
	disk
	layers, volumes bool
}

// fullDisk is the engine's disk or the volumes', whichever is fuller than limit; nil: neither.
func fullDisk(engine, volumes string, limit int) (*fullness, error) {
	var one, other unix.Stat_t
	if err := errors.Join(unix.Stat(engine, &one), unix.Stat(volumes, &other)); err != nil {
		return nil, fmt.Errorf("disks of %s and %s: %w", engine, volumes, err)
	}
	same := one.Dev == other.Dev
	for _, f := range []struct {
		path string
		full fullness
	}{{engine, fullness{layers: true, volumes: same}}, {volumes, fullness{layers: same, volumes: true}}} {
		d, err := diskOf(f.path)
		if err != nil {
			return nil, err
		}
		if d.percent() > limit {
			f.full.disk = d
			return &f.full, nil
		}
	}
	return nil, nil
}

// diskUser is what a pod has on a disk, and how much of that it asked for.
type diskUser struct {
	pod     *corev1.Pod
	used    amount
	request int64
	// share is what part of the disk it uses beyond what it asked for, in thousandths.
	share int64
}

// diskUsers are the pods of the node; none while one of them is being evicted, or what
// one had is being removed.
func (a *Agent) diskUsers(ctx context.Context, on fullness) ([]diskUser, error) {
	var pods corev1.PodList
	if err := a.Client.List(ctx, &pods); err != nil {
		return nil, err
	}
	var all []diskUser
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.NodeName != a.Node || p.DeletionTimestamp != nil {
			continue
		}
		if going, err := a.goes(p); going || err != nil {
			return nil, err
		}
		if ended(p) {
			continue
		}
		w, err := a.written(ctx, p)
		if err != nil {
			a.Log.Warn("measure what a pod wrote", "pod", client.ObjectKeyFromObject(p).String(), "error", err)
			continue
		}
		all = append(all, userOf(p, w, on))
	}
	return all, nil
}

// goes says whether a pod is about to give its room back.
func (a *Agent) goes(p *corev1.Pod) (going bool, err error) {
	if ended(p) {
		return a.files.leftovers(client.ObjectKeyFromObject(p), p.UID)
	}
	a.remember(p.UID, func(m *memory) { going = m.evicted != "" })
	return going, nil
}

func userOf(p *corev1.Pod, w written, on fullness) diskUser {
	u := diskUser{pod: p}
	if on.volumes {
		u.used = amount{bytes: w.own, files: w.files}
		for _, n := range w.volumes {
			u.used.bytes += n
		}
	}
	if on.layers {
		for _, n := range w.containers {
			u.used.bytes += n
		}
	}
	for _, c := range p.Spec.Containers {
		q := c.Resources.Requests[corev1.ResourceEphemeralStorage]
		u.request += q.Value()
	}
	of := func(n int64, total uint64) int64 {
		if n <= 0 || total == 0 {
			return 0
		}
		return int64(1000 * float64(n) / float64(total))
	}
	u.share = max(of(u.used.bytes-u.request, on.total), of(u.used.files, on.files))
	return u
}

const (
	evictedReason = "Evicted"
	// lowOnResource is what the message of a pod begins with that went for the others' sake:
	// a disruption, by which a Job need not count it.
	lowOnResource = "The node was low on resource"
)

// much is what part of a disk, in thousandths, a pod has to use for its end to help.
const much = 10

// worst is who is to go, in the kubelet's order: those with the least priority among
// those that use more than they asked for, and of them who uses the most.
func worst(users []diskUser) (u diskUser, found bool) {
	priority := func(p *corev1.Pod) int32 {
		if p.Spec.Priority == nil {
			return 0
		}
		return *p.Spec.Priority
	}
	users = slices.DeleteFunc(slices.Clone(users), func(u diskUser) bool { return u.share < much })
	if len(users) == 0 {
		return u, false
	}
	return slices.MinFunc(users, func(x, y diskUser) int {
		return cmp.Or(cmp.Compare(priority(x.pod), priority(y.pod)), cmp.Compare(y.share, x.share), cmp.Compare(x.pod.Name, y.pod.Name))
	}), true
}

// watchDisks measures what pods wrote, and makes room where it is short.
func (a *Agent) watchDisks(ctx context.Context) error {
	return errors.Join(a.measureStorage(ctx), a.relieve(ctx))
}
