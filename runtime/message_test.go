package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestAMessageIsShortAndAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := messageFile(dir, App, "main", 3)
	if got, err := readMessage(path); got != "" || err != nil {
		t.Errorf("without a file: %q, %v", got, err)
	}
	for range 2 {
		if err := makeMessageFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 3*messageLimit)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readMessage(path); len(got) != messageLimit || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if got, err := readMessage(link); err == nil {
		t.Errorf("a link is followed to %q", got)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readMessage(pipe); got != "" || err != nil { // It would hang.
		t.Errorf("a pipe: %q, %v", got, err)
	}
}

func TestTheSizeOfAVolumeInMemory(t *testing.T) {
	t.Parallel()
	limited := func(memory string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Limits: list("", memory)}}
	}
	node := list("", "8Gi")
	small := resource.MustParse("1Mi")
	for name, c := range map[string]struct {
		containers []corev1.Container
		limit      *resource.Quantity
		want       int64
	}{
		"no limit is half of the node":      {[]corev1.Container{{}}, nil, 4 << 30},
		"its own":                           {[]corev1.Container{{}}, &small, 1 << 20},
		"the containers'":                   {[]corev1.Container{limited("1Gi"), limited("1Gi")}, nil, 2 << 30},
		"one of them may have any":          {[]corev1.Container{limited("1Gi"), {}}, nil, 4 << 30},
		"the smaller of its own and theirs": {[]corev1.Container{limited("1Gi")}, &small, 1 << 20},
	} {
		s := surroundings{pod: &corev1.Pod{Spec: corev1.PodSpec{Containers: c.containers}}, node: node}
		if got := s.memorySize(c.limit); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}
