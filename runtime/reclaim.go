package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/runtime/mounts"
	"slipway.dev/slipway/state/loop"
)

// reclaimController empties or removes what volumes hold whose claims are gone, where the cluster
// asks this node to.
func (a *Agent) reclaimController() loop.Controller {
	return loop.Controller{
		Name: "volumes-on-node",
		Watches: []loop.Watch{{List: &corev1.PersistentVolumeList{}, Keys: func(o client.Object) []loop.Key {
			if o.GetAnnotations()[api.ReclaimAnnotation] != a.Node {
				return nil
			}
			return []loop.Key{{Name: o.GetName()}}
		}}},
		Reconcile: a.reclaim,
	}
}

func (a *Agent) reclaim(ctx context.Context, key loop.Key) (loop.Result, error) {
	var v corev1.PersistentVolume
	if err := a.Client.Get(ctx, key, &v); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if !reclaimable(&v, a.Node) {
		return loop.Result{}, nil
	}
	failed := a.empty(ctx, &v)
	next := v.DeepCopy()
	if failed == nil {
		delete(next.Annotations, api.ReclaimErrorAnnotation)
		next.Annotations[api.ReclaimedAnnotation] = string(v.Spec.ClaimRef.UID)
	} else {
		failed = fmt.Errorf("persistentvolume %s: %w", v.Name, failed)
		next.Annotations[api.ReclaimErrorAnnotation] = failed.Error()
	}
	if failed == nil || next.Annotations[api.ReclaimErrorAnnotation] != v.Annotations[api.ReclaimErrorAnnotation] {
		// The whole volume, as it was read: of it nodes may write no more than these annotations.
		if err := a.Client.Update(ctx, next); client.IgnoreNotFound(err) != nil {
			return loop.Result{}, errors.Join(failed, err)
		}
	}
	return loop.Result{}, failed
}

// reclaimable: the volume's claim is gone, its policy is not Retain, and its data is still there.
func reclaimable(v *corev1.PersistentVolume, node string) bool {
	r, policy := v.Spec.ClaimRef, v.Spec.PersistentVolumeReclaimPolicy
	return v.Annotations[api.ReclaimAnnotation] == node && r != nil && r.UID != "" && v.Annotations[api.ReclaimedAnnotation] != string(r.UID) &&
		(v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeFailed) &&
		(policy == corev1.PersistentVolumeReclaimRecycle || policy == corev1.PersistentVolumeReclaimDelete)
}

// empty removes what a volume holds and, with the policy Delete, its directory.
func (a *Agent) empty(ctx context.Context, v *corev1.PersistentVolume) error {
	dir := ""
	switch s := v.Spec.PersistentVolumeSource; {
	case s.HostPath != nil:
		dir = s.HostPath.Path
	case s.Local != nil:
		dir = s.Local.Path
	case s.NFS != nil:
		return a.emptyNFS(ctx, v)
	default:
		return errors.New("its type is not supported")
	}
	if err := a.spare(dir); err != nil {
		return err
	}
	if err := emptyOut(dir); err != nil || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return err
	}
	// A disk of its own stays mounted.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return nil
}

func (a *Agent) emptyNFS(ctx context.Context, v *corev1.PersistentVolume) error {
	root := filepath.Join(filepath.Dir(a.files.root), "reclaim")
	dir := filepath.Join(root, v.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mounted, err := mounts.At(dir)
	if err != nil {
		return err
	}
	if !mounted {
		if err := mountNFS(ctx, v.Spec.NFS, v.Spec.MountOptions, dir, false); err != nil {
			return err
		}
	}
	if err := emptyOut(dir); err != nil {
		return err
	}
	return syscall.Unmount(dir, 0)
}

// spare refuses directories that hold more than a volume: what the agent itself keeps.
func (a *Agent) spare(dir string) error {
	own := filepath.Dir(a.files.root)
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if real == own || strings.HasPrefix(own, strings.TrimSuffix(real, "/")+"/") || strings.HasPrefix(real, own+"/") {
		return fmt.Errorf("%s is where this node keeps its own files: nothing is removed", dir)
	}
	return nil
}

// emptyOut removes everything in a directory. Links are removed, not followed, and where another
// file system is mounted inside nothing is removed at all.
func emptyOut(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	below, err := mounts.Below(real)
	if err != nil {
		return err
	}
	if len(below) > 0 {
		return fmt.Errorf("%s is mounted inside: nothing is removed", below[0])
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
