package builder

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

const (
	// maxPids is how many processes a build's container may have.
	maxPids = 4096
	// tail is how much of a container's output an error repeats.
	tail = 400
)

// runContainer runs a container of a build to its end, its output going to the log,
// and removes it. prepare runs before the start, and keep after a good end, both with
// the container's id.
func (j *job) runContainer(ctx context.Context, cfg *container.Config, net string, prepare func(id string) error, keep ...func(id string) error) (string, error) {
	pids := int64(maxPids)
	created, err := j.Docker.ContainerCreate(ctx, cfg, &container.HostConfig{
		NetworkMode: container.NetworkMode(net),
		SecurityOpt: []string{"no-new-privileges"},
		CapDrop:     []string{"NET_RAW", "MKNOD", "AUDIT_WRITE", "SYS_CHROOT"},
		Resources:   container.Resources{PidsLimit: &pids, Memory: memory(j.build.Spec.Resources)},
	}, nil, nil, "")
	if err != nil {
		return "", err
	}
	defer j.remove(created.ID)
	if prepare != nil {
		if err := prepare(created.ID); err != nil {
			return "", err
		}
	}
	out, err := j.Docker.ContainerAttach(ctx, created.ID, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return "", err
	}
	defer out.Close()
	last := &lastBytes{}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		w := io.MultiWriter(j.out, last)
		_, _ = stdcopy.StdCopy(w, w, out.Reader)
	}()
	exited, failed := j.Docker.ContainerWait(ctx, created.ID, container.WaitConditionNextExit)
	if err := j.Docker.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		return "", err
	}
	select {
	case err := <-failed:
		return "", err
	case end := <-exited:
		<-copied
		if end.StatusCode != 0 {
			return "", fmt.Errorf("%s ended with code %d: %s", strings.Join(append(cfg.Entrypoint, cfg.Cmd...), " "), end.StatusCode, last)
		}
	}
	for _, k := range keep {
		if err := k(created.ID); err != nil {
			return "", err
		}
	}
	return created.ID, nil
}

// remove takes a container away even if the build was cancelled.
func (j *job) remove(id string) {
	err := j.Docker.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil {
		j.Log.Warn("a build's container could not be removed", "container", id, "build", j.build.Name, "error", err)
	}
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if n := len(l.b) - tail; n > 0 {
		l.b = l.b[n:]
	}
	return len(p), nil
}

func (l *lastBytes) String() string { return strings.TrimSpace(string(l.b)) }
