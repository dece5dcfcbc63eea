package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/docker/api/types/mount"
	corev1 "k8s.io/api/core/v1"
)

// hostPath sees to it that there is what a volume names on the host, and that it is of the type that is asked for.
// Links are followed: what the host's administrators have put there is theirs.
func hostPath(s *corev1.HostPathVolumeSource) error {
	want := corev1.HostPathUnset
	if s.Type != nil {
		want = *s.Type
	}
	info, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		switch want {
		case corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate:
			return os.MkdirAll(s.Path, 0o755)
		case corev1.HostPathFileOrCreate:
			// As with the kubelet, its directory has to be there.
			f, err := os.OpenFile(s.Path, os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	if is, known := map[corev1.HostPathType]bool{
		corev1.HostPathUnset:     true,
		corev1.HostPathDirectory: info.IsDir(), corev1.HostPathDirectoryOrCreate: info.IsDir(),
		corev1.HostPathFile: info.Mode().IsRegular(), corev1.HostPathFileOrCreate: info.Mode().IsRegular(),
		corev1.HostPathSocket:  info.Mode()&fs.ModeSocket != 0,
		corev1.HostPathCharDev: info.Mode()&fs.ModeCharDevice != 0, corev1.HostPathBlockDev: info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice,
	}[want]; !known || !is {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", s.Path, want)
	}
	return nil
}

// propagation has what is mounted below a path of the host later seen in the container, where it asks for that. Nothing
// is ever mounted below other volumes.
func propagation(pod *corev1.Pod, m *corev1.VolumeMount) *mount.BindOptions {
	if p := m.MountPropagation; p == nil || *p != corev1.MountPropagationHostToContainer || sourceOf("", pod, m.Name) == filepath.Join("volumes", m.Name) {
		return nil
	}
	return &mount.BindOptions{Propagation: mount.PropagationRSlave}
}

// sourceOf is where a volume of a pod is: below the pod's directory, unless it is of the host.
func sourceOf(dir string, pod *corev1.Pod, name string) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == name && v.HostPath != nil {
			return filepath.Clean(v.HostPath.Path)
		}
	}
	return filepath.Join(dir, "volumes", name)
}
