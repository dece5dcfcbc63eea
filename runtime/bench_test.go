package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	corev1 "k8s.io/api/core/v1"
)

// BenchmarkPodStart compares a pod's start, from its creation to its being ready, with
// what Docker needs for the two containers that a pod is.
func BenchmarkPodStart(b *testing.B) {
	l := newLab(b)
	b.Run("pod", func(b *testing.B) {
		for i := range b.N {
			name := fmt.Sprintf("web-%d-%d", b.N, i)
			l.pod(name, corev1.PodSpec{Containers: []corev1.Container{sh(forever)}})
			for !ready(l.get(name)) {
				time.Sleep(time.Millisecond)
			}
		}
	})
	b.Run("docker", func(b *testing.B) {
		for range b.N {
			first := ""
			for range 2 {
				host := &container.HostConfig{NetworkMode: "none", IpcMode: "shareable"}
				if first != "" {
					host.NetworkMode, host.IpcMode = container.NetworkMode("container:"+first), container.IpcMode("container:"+first)
				}
				c, err := l.docker.ContainerCreate(b.Context(), &container.Config{Image: l.image, Cmd: []string{"sh", "-c", forever}, Labels: map[string]string{"slipway.dev/instance": l.instance}}, host, nil, nil, "")
				if err != nil {
					b.Fatal(err)
				}
				if err := l.docker.ContainerStart(b.Context(), c.ID, container.StartOptions{}); err != nil {
					b.Fatal(err)
				}
				first = c.ID
			}
		}
	})
}
