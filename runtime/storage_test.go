package runtime

import (
	"errors"
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
			written{volumes: map[string]int64{"work": 1 << 19}, containers: map[string]int64{"a": 1<<19 + 1}}, "total limit of containers 1Mi",
		},
		"nobody can tell": {corev1.PodSpec{Volumes: []corev1.Volume{volume}}, written{unmeasured: "too deep"}, "cannot be told: too deep"},
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
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if n, err := size(dir); err != nil || n.bytes < 16384 || n.bytes >= 24576 || n.files != 4 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := size(filepath.Join(dir, "none")); n != (amount{}) || err != nil {
		t.Errorf("of nothing: %d, %v", n, err)
	}
}

// A path that is longer than any path may be hides nothing, and one that is deeper than
// anybody can look is too deep.
func TestNothingIsHiddenDeepDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 100)
	down := func(levels int) {
		for range levels {
			if err := at.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
			next, err := at.OpenRoot(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(at.WriteFile("f", make([]byte, 4096), 0o600), at.Close()); err != nil {
				t.Fatal(err)
			}
			at = next
		}
	}
	down(deepest / 2) // 50 kB of path
	if n, err := size(dir); err != nil || n.files != deepest || n.bytes < 4096*deepest/2 {
		t.Errorf("%d, %v", n, err)
	}
	down(deepest/2 + 1)
	if _, err := size(dir); !errors.Is(err, errTooDeep) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(at.Close(), os.RemoveAll(dir)); err != nil {
		t.Error(err)
	}
}
