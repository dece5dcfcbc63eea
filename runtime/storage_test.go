package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestWhoWroteTooMuch(t *testing.T) {
	t.Parallel()
	limit := resource.MustParse("1Mi")
	volume := corev1.Volume{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}}
	limited := func(name string) corev1.Container {
		return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceEphemeralStorage: limit}}}
	}
	for name, c := range map[string]struct {
		spec    corev1.PodSpec
		written written
		want    string
	}{
		"no limits":         {corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}, written{containers: map[string]int64{"a": 1 << 40}}, ""},
		"a volume":          {corev1.PodSpec{Volumes: []corev1.Volume{volume}}, written{volumes: map[string]int64{"work": 1<<20 + 1}}, `volume "work" exceeds the limit "1Mi"`},
		"a volume has room": {corev1.PodSpec{Volumes: []corev1.Volume{volume}, Containers: []corev1.Container{{}}}, written{volumes: map[string]int64{"work": 1 << 20}}, ""},
		"a container":       {corev1.PodSpec{Containers: []corev1.Container{limited("a"), limited("b")}}, written{containers: map[string]int64{"b": 1<<20 + 1}}, `Container b exceeded its local ephemeral storage limit "1Mi"`},
		"all of them together": {
			corev1.PodSpec{Containers: []corev1.Container{limited("a")}, Volumes: []corev1.Volume{volume}},
			written{map[string]int64{"work": 1 << 19}, map[string]int64{"a": 1<<19 + 1}}, "total limit of containers 1Mi",
		},
	} {
		got := tooMuch(&corev1.Pod{Spec: c.spec}, c.written)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheSizeOfADirectory(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "big")
	for path, n := range map[string]int{filepath.Join(dir, "a"): 8192, filepath.Join(dir, "deep/b"): 8192, outside: 1 << 20} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if n, err := size(dir); err != nil || n < 16384 || n >= 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := size(filepath.Join(dir, "none")); n != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", n, err)
	}
}
