package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kubelet's numbers.
const (
	sweepEvery = 5 * time.Minute
	// freshImage is how long an image is kept after it was last used.
	freshImage = 2 * time.Minute
)

// disk is how full a file system is.
type disk struct {
	total, free uint64 // bytes; free: to those who are not root
	// files and filesFree count inodes; 0 where there is no limit.
	files, filesFree uint64
}

// percent is of the room or of the inodes, of which there is less.
func (d disk) percent() int {
	return max(percentOf(d.total, d.free), percentOf(d.files, d.filesFree))
}

func percentOf(total, free uint64) int {
	if total == 0 || free > total {
		return 0
	}
	return int(100 * (total - free) / total)
}

func diskOf(path string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return disk{}, fmt.Errorf("%s: %w", path, err)
	}
	// As df(1) counts: what is kept for root is neither used nor free.
	return disk{
		total: (s.Blocks - s.Bfree + s.Bavail) * uint64(s.Bsize), free: s.Bavail * uint64(s.Bsize), files: s.Files, filesFree: s.Ffree,
	}, nil
}

// sweepImages removes images that the agent pulled and nothing uses, who was not used
// for longest first, when the engine's disk is fuller than DiskHigh, until it is not
// fuller than DiskLow. What a name stood for before it was pulled again goes at once.
func (a *Agent) sweepImages(ctx context.Context) error {
	info, err := a.Docker.Info(ctx)
	if err != nil {
		return err
	}
	used, err := a.imagesInUse(ctx)
	if err != nil {
		return err
	}
	all, err := a.ledger.all()
	if err != nil {
		return err
	}
	d, err := diskOf(info.DockerRootDir)
	if err != nil {
		return err
	}
	sweeping, freed, now := d.percent() > a.DiskHigh, 0, a.Clock()
	for _, i := range all {
		i, err := a.dropOlder(ctx, i, used)
		if err != nil {
			return err
		}
		if used.has(i) {
			err = a.ledger.use(i.Ref, now)
		} else if sweeping && now.Sub(i.used) >= freshImage && !a.pulls.has(i.Ref) {
			freed++
			if err = a.dropImage(ctx, i); err == nil {
				d, err = diskOf(info.DockerRootDir)
				sweeping = err == nil && d.percent() > a.DiskLow
			}
		}
		if err != nil {
			return err
		}
	}
	if sweeping {
		a.Log.Warn("the engine's disk stays full: nothing is left to remove that was pulled and is not used", "percent", d.percent(), "removed", freed)
	}
	return nil
}

// inUse are the names and ids of images that must stay.
type inUse struct{ refs, ids map[string]bool }

func (u inUse) has(i pulledImage) bool {
	return u.refs[i.Ref] || len(i.IDs) > 0 && u.ids[i.IDs[len(i.IDs)-1]]
}

// imagesInUse are those of every container on the engine, whoever made it and whether
// it runs, and those that the node's pods name.
func (a *Agent) imagesInUse(ctx context.Context) (inUse, error) {
	u := inUse{map[string]bool{}, map[string]bool{}}
	list, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return u, err
	}
	for _, c := range list {
		u.refs[c.Image], u.ids[c.ImageID] = true, true
	}
	var pods corev1.PodList
	if err := a.Client.List(ctx, &pods); err != nil {
		return u, err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.NodeName != a.Node || ended(p) {
			continue
		}
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			u.refs[c.Image] = true
		}
	}
	return u, nil
}

// dropOlder removes what the image's name stood for before.
func (a *Agent) dropOlder(ctx context.Context, i pulledImage, used inUse) (pulledImage, error) {
	if len(i.IDs) < 2 {
		return i, nil
	}
	newest := i.IDs[len(i.IDs)-1]
	var stay []string
	for _, id := range i.IDs[:len(i.IDs)-1] {
		if used.ids[id] {
			stay = append(stay, id)
		} else if err := a.removeNameless(ctx, id); err != nil {
			return i, err
		}
	}
	if stay = append(stay, newest); len(stay) == len(i.IDs) {
		return i, nil
	}
	i.IDs = stay
	return i, a.ledger.forget(i.Ref, stay)
}

func (a *Agent) dropImage(ctx context.Context, i pulledImage) error {
	if err := a.removeImage(ctx, i.Ref); err != nil {
		return err
	}
	a.Log.Info("removed an image that nothing uses", "image", i.Ref)
	return a.ledger.forget(i.Ref, nil)
}

// removeNameless removes an image by its id, unless it has got a name: it is somebody's.
func (a *Agent) removeNameless(ctx context.Context, id string) error {
	i, err := a.Docker.ImageInspect(ctx, id)
	if errdefs.IsNotFound(err) || err == nil && len(i.RepoTags) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return a.removeImage(ctx, id)
}

// removeImage takes a name away, and the image with its last one. An image that a
// container uses stays.
func (a *Agent) removeImage(ctx context.Context, ref string) error {
	_, err := a.Docker.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("remove image %s: %w", ref, err)
}

// pressures are the node's conditions beside Ready: what it is short of. The numbers
// are those at which the kubelet evicts.
func pressures(d disk, dErr error, memoryFree int64, mErr error, now time.Time) []corev1.NodeCondition {
	of := func(kind corev1.NodeConditionType, short bool, err error, reason, otherwise string) corev1.NodeCondition {
		c := corev1.NodeCondition{Type: kind, Status: corev1.ConditionFalse, Reason: otherwise, LastHeartbeatTime: metav1.Time{Time: now.Truncate(time.Second)}}
		switch {
		case err != nil:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "CannotTell", err.Error()
		case short:
			c.Status, c.Reason = corev1.ConditionTrue, reason
		}
		return c
	}
	return []corev1.NodeCondition{
		of(corev1.NodeMemoryPressure, memoryFree < 100<<20, mErr, "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
		of(corev1.NodeDiskPressure, d.percent() > 90, dErr, "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
	}
}
