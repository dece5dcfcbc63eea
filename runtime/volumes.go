package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"slipway.dev/slipway/runtime/mounts"
)

// payload is the content of a volume that is made from objects.
type payload map[string]entry

type entry struct {
	data string
	mode os.FileMode
}

// volumes makes the pod's volumes below dir/volumes and brings those that are made from
// objects up to date.
func (s surroundings) volumes(ctx context.Context, dir string) error {
	for _, v := range s.pod.Spec.Volumes {
		if err := s.volume(ctx, filepath.Join(dir, "volumes", v.Name), v); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return nil
}

func (s surroundings) volume(ctx context.Context, path string, v corev1.Volume) error {
	group := -1
	if c := s.pod.Spec.SecurityContext; c != nil && c.FSGroup != nil {
		group = int(*c.FSGroup)
	}
	if e := v.EmptyDir; e != nil {
		if e.Medium == corev1.StorageMediumMemory {
			options := "mode=0777"
			if size := s.memorySize(e.SizeLimit); size > 0 {
				options += fmt.Sprintf(",size=%d", size)
			}
			if err := tmpfs(path, options, 0); err != nil {
				return err
			}
		}
		return emptyDir(path, group)
	}
	if c := v.PersistentVolumeClaim; c != nil {
		return s.claimed(ctx, path, c, group)
	}
	if h := v.HostPath; h != nil {
		return hostPath(h)
	}
	content, inMemory, err := s.payload(ctx, v)
	if err != nil {
		return err
	}
	if inMemory {
		if err := tmpfs(path, "mode=0755,size=8m", syscall.MS_NOEXEC); err != nil {
			return err
		}
	}
	return content.write(path, group)
}

// payload reads what a volume is made of. inMemory: it must not reach a disk.
func (s surroundings) payload(ctx context.Context, v corev1.Volume) (p payload, inMemory bool, err error) {
	p = payload{}
	switch {
	case v.ConfigMap != nil:
		return p, false, s.fromConfigMap(ctx, p, v.ConfigMap.Name, v.ConfigMap.Optional, v.ConfigMap.Items, v.ConfigMap.DefaultMode)
	case v.Secret != nil:
		return p, true, s.fromSecret(ctx, p, v.Secret.SecretName, v.Secret.Optional, v.Secret.Items, v.Secret.DefaultMode)
	case v.DownwardAPI != nil:
		return p, false, s.fromFields(p, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		for i, src := range v.Projected.Sources {
			switch mode := v.Projected.DefaultMode; {
			case src.ConfigMap != nil:
				err = s.fromConfigMap(ctx, p, src.ConfigMap.Name, src.ConfigMap.Optional, src.ConfigMap.Items, mode)
			case src.Secret != nil:
				inMemory = true
				err = s.fromSecret(ctx, p, src.Secret.Name, src.Secret.Optional, src.Secret.Items, mode)
			case src.DownwardAPI != nil:
				err = s.fromFields(p, src.DownwardAPI.Items, mode)
			default:
				err = errors.New("its type is not supported")
			}
			if err != nil {
				return nil, inMemory, fmt.Errorf("projected.sources[%d]: %w", i, err)
			}
		}
		return p, inMemory, nil
	}
	return nil, false, errors.New("its type is not supported: use emptyDir, configMap, secret, downwardAPI, projected, hostPath or persistentVolumeClaim")
}

func (s surroundings) fromConfigMap(ctx context.Context, p payload, name string, optional *bool, items []corev1.KeyToPath, mode *int32) error {
	data, err := s.configMap(ctx, name, optional)
	if err != nil {
		return err
	}
	return p.add("configmap "+name, data, optional, items, mode)
}

func (s surroundings) fromSecret(ctx context.Context, p payload, name string, optional *bool, items []corev1.KeyToPath, mode *int32) error {
	data, err := s.secret(ctx, name, optional)
	if err != nil {
		return err
	}
	return p.add("secret "+name, data, optional, items, mode)
}

func (s surroundings) fromFields(p payload, items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = s.field(item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = s.resource(nil, item.ResourceFieldRef)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", item.Path, err)
		}
		if err := p.put(item.Path, value, first(item.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

func (p payload) add(from string, data map[string]string, optional *bool, items []corev1.KeyToPath, mode *int32) error {
	if items == nil {
		for k, v := range data {
			if err := p.put(k, v, first(mode)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		v, found := data[item.Key]
		if !found {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("%s has no key %q", from, item.Key)
		}
		if err := p.put(item.Path, v, first(item.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

// put adds a file; its path must stay inside, and names that begin with two dots are
// the volume's own.
func (p payload) put(path, data string, mode os.FileMode) error {
	if !filepath.IsLocal(path) || strings.HasPrefix(filepath.Clean(path), "..") || filepath.Clean(path) == "." {
		return fmt.Errorf("path %q leads out of the volume", path)
	}
	p[filepath.Clean(path)] = entry{data, mode}
	return nil
}

func first(modes ...*int32) os.FileMode {
	for _, m := range modes {
		if m != nil {
			return os.FileMode(*m).Perm()
		}
	}
	return 0o644
}

// write makes dir show the payload. As in Kubernetes, the files are below a directory
// that the link ..data points to, so that a change is seen whole or not at all. Whatever
// a process that died in between has left is completed.
func (p payload) write(dir string, group int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	version := p.version()
	if strings.TrimSuffix(old, repaired) == version && p.isIn(filepath.Join(dir, old)) {
		version = old
	} else {
		if old == version {
			version += repaired
		}
		if err := p.fill(filepath.Join(dir, version), group); err != nil {
			return err
		}
		if err := swap(dir, "..data", version); err != nil {
			return err
		}
	}
	tops := map[string]bool{}
	for n := range p {
		top, _, _ := strings.Cut(n, "/")
		tops[top] = true
	}
	for top := range tops {
		target := filepath.Join("..data", top)
		if now, err := os.Readlink(filepath.Join(dir, top)); err == nil && now == target {
			continue
		}
		if err := swap(dir, top, target); err != nil {
			return err
		}
	}
	return clean(dir, version, tops)
}

// repaired is what the name of a version ends with that takes the place of one whose
// files were lost, as where the machine lost its power.
const repaired = ".r"

// version is the name of the directory that holds the payload.
func (p payload) version() string {
	h := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(h, "%d %s %o %d %s\n", len(n), n, p[n].mode, len(p[n].data), p[n].data)
	}
	return fmt.Sprintf("..%.12x", h.Sum(nil))
}

// isIn says whether a directory has all of the payload's files as they should be.
func (p payload) isIn(dir string) bool {
	for n, e := range p {
		if b, err := os.ReadFile(filepath.Join(dir, n)); err != nil || string(b) != e.data {
			return false
		}
	}
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

func (p payload) fill(dir string, group int) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(p)) {
		if err := writeFile(filepath.Join(dir, n), p[n], group); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, e entry, group int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(e.data), e.mode); err != nil {
		return err
	}
	mode := e.mode
	if group >= 0 {
		mode |= 0o440
		if err := os.Chown(path, 0, group); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// swap makes the link dir/name point to target, in one step.
func swap(dir, name, target string) error {
	next := filepath.Join(dir, "..next")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(dir, name))
}

// clean removes older versions and the links to files that are no more.
func clean(dir, version string, tops map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n != version && n != "..data" && !tops[n] {
			if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// emptyDir makes a directory that every container may write to (as Kubernetes' does),
// and whose files belong to the pod's group if it has one.
func emptyDir(path string, group int) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	mode := os.FileMode(0o777)
	if group >= 0 {
		mode |= os.ModeSetgid
		if err := os.Chown(path, 0, group); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// memorySize is the size in bytes of a volume in memory: its limit, but not more than
// all of the pod's containers may have, or half of the node's memory where one of them
// may have any (which is the kernel's own default, but on what the node is known to have).
func (s surroundings) memorySize(limit *resource.Quantity) int64 {
	size := s.node.Memory().Value() / 2
	var sum int64
	for _, c := range s.pod.Spec.Containers {
		memory, limited := c.Resources.Limits[corev1.ResourceMemory]
		if !limited || memory.IsZero() {
			sum = 0
			break
		}
		sum += memory.Value()
	}
	if sum > 0 {
		size = sum
	}
	if limit != nil && limit.Sign() > 0 && (size == 0 || limit.Value() < size) {
		size = limit.Value()
	}
	return size
}

// tmpfs mounts a file system in memory at path unless one is there.
func tmpfs(path, options string, flags uintptr) error {
	mounted, err := mounts.At(path)
	if err != nil || mounted {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	flags |= syscall.MS_NOSUID | syscall.MS_NODEV
	err = syscall.Mount("tmpfs", path, "tmpfs", flags, options+",noswap")
	if errors.Is(err, syscall.EINVAL) { // Linux before 6.4 cannot keep it out of the swap.
		err = syscall.Mount("tmpfs", path, "tmpfs", flags, options)
	}
	if err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	return nil
}
