package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime/mounts"
)

// readOnly says whether containers may only read a volume, whatever their mounts say.
func readOnly(v *corev1.Volume) bool {
	if c := v.PersistentVolumeClaim; c != nil {
		return c.ReadOnly
	}
	return v.EmptyDir == nil && v.HostPath == nil
}

// claimed mounts the volume that a claim is bound to at path.
func (s surroundings) claimed(ctx context.Context, path string, source *corev1.PersistentVolumeClaimVolumeSource, group int) error {
	c, v, err := s.bound(ctx, source.ClaimName)
	if err != nil {
		return err
	}
	reads := source.ReadOnly || onlyReads(c.Spec.AccessModes)
	mounted, err := mounts.At(path)
	if err != nil {
		return err
	}
	if !mounted {
		// Only those: a mount of a server that does not answer would hold up all other pods.
		if slices.Contains(c.Spec.AccessModes, corev1.ReadWriteOncePod) {
			s.mounting.Lock()
			defer s.mounting.Unlock()
		}
		if err := s.alone(ctx, c); err != nil {
			return err
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := mountVolume(ctx, v, path, group, reads); err != nil {
			return fmt.Errorf("persistentvolume %s: %w", v.Name, err)
		}
		// As with the kubelet: paths of hosts and exports stay as whoever made them wants.
		if v.Spec.Local != nil && group >= 0 && !reads {
			if err := ownBy(path, group, s.pod.Spec.SecurityContext.FSGroupChangePolicy); err != nil {
				return errors.Join(fmt.Errorf("persistentvolume %s: %w", v.Name, err), syscall.Unmount(path, 0))
			}
		}
	}
	if reads {
		// Also where a process died between the two steps of a read-only mount.
		if err := syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY|syscall.MS_NOSUID|syscall.MS_NODEV, ""); err != nil {
			return fmt.Errorf("persistentvolume %s: mount read-only: %w", v.Name, err)
		}
	}
	return nil
}

// bound is a claim with the volume that is its own.
func (s surroundings) bound(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
	var c corev1.PersistentVolumeClaim
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.pod.Namespace, Name: name}, &c)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, fmt.Errorf("persistentvolumeclaim %q not found", name)
	case err != nil:
		return nil, nil, err
	case c.DeletionTimestamp != nil:
		return nil, nil, fmt.Errorf("persistentvolumeclaim %q is being deleted", name)
	case c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName == "":
		return nil, nil, fmt.Errorf("persistentvolumeclaim %q is not bound to a volume yet", name)
	}
	var v corev1.PersistentVolume
	err = s.client.Get(ctx, client.ObjectKey{Name: c.Spec.VolumeName}, &v)
	switch r := v.Spec.ClaimRef; {
	case err != nil:
		return nil, nil, fmt.Errorf("persistentvolumeclaim %q: volume %s: %w", name, c.Spec.VolumeName, err)
	case r == nil || r.UID != c.UID:
		return nil, nil, fmt.Errorf("persistentvolumeclaim %q: volume %s is not its own", name, v.Name)
	}
	return &c, &v, nil
}

func onlyReads(modes []corev1.PersistentVolumeAccessMode) bool {
	return !slices.ContainsFunc(modes, func(m corev1.PersistentVolumeAccessMode) bool { return m != corev1.ReadOnlyMany })
}

// alone refuses a claim that one pod may use at a time, where another pod has it mounted: that one came
// first, whatever their times of creation say, which are no finer than seconds. Pods of other nodes are
// the scheduler's to keep apart.
func (s surroundings) alone(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	if !slices.Contains(c.Spec.AccessModes, corev1.ReadWriteOncePod) {
		return nil
	}
	var pods corev1.PodList
	if err := s.client.List(ctx, &pods, client.InNamespace(s.pod.Namespace)); err != nil {
		return err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.UID == s.pod.UID || !api.UsesClaim(p, c.Name) {
			continue
		}
		if has, err := s.files.hasMounted(p, c.Name); err != nil {
			return err
		} else if has {
			return fmt.Errorf("persistentvolumeclaim %q is in use by pod %s, and its access mode is ReadWriteOncePod", c.Name, p.Name)
		}
	}
	return nil
}

// hasMounted says whether the volume behind a claim is mounted for a pod on this node.
func (f files) hasMounted(p *corev1.Pod, claim string) (bool, error) {
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil || v.PersistentVolumeClaim.ClaimName != claim {
			continue
		}
		at, err := mounts.At(filepath.Join(f.dir(client.ObjectKeyFromObject(p), p.UID), "volumes", v.Name))
		if err != nil || at {
			return at, err
		}
	}
	return false, nil
}

// lostMounts says whether volumes of a pod that were mounted no longer are, as after a restart of the
// machine. A container that was made before would write what is to last into the agent's own files.
func (a *Agent) lostMounts(key types.NamespacedName, pod *corev1.Pod) (bool, error) {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil && v.Secret == nil {
			continue
		}
		mounted, err := mounts.At(filepath.Join(a.files.dir(key, pod.UID), "volumes", v.Name))
		if err != nil || !mounted {
			return err == nil, err
		}
	}
	return false, nil
}

// mountVolume mounts what a volume holds at path.
func mountVolume(ctx context.Context, v *corev1.PersistentVolume, path string, group int, reads bool) error {
	switch s := v.Spec.PersistentVolumeSource; {
	case s.HostPath != nil:
		if t := s.HostPath.Type; t == nil || *t != corev1.HostPathDirectory {
			if err := makeShared(s.HostPath.Path, group); err != nil {
				return err
			}
		}
		return bind(s.HostPath.Path, path)
	case s.Local != nil:
		return bind(s.Local.Path, path)
	case s.NFS != nil:
		return mountNFS(ctx, s.NFS, v.Spec.MountOptions, path, reads || s.NFS.ReadOnly)
	}
	return errors.New("its type is not supported: use hostPath, local or nfs")
}

// makeShared makes a directory that is not there, for pods of whatever user, as an emptyDir is
// for them. One that is there stays as its owner wants it.
func makeShared(path string, group int) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return emptyDir(path, group)
}

// bind mounts a directory of this host at path. What was opened is mounted.
func bind(dir, path string) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), path, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}
