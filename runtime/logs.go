package runtime

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Logs reads what a container of a pod wrote, both streams in one. The container may be
// left out (options.Container is not looked at) if the pod has only one. A pod without
// such a container is NotFound; a container that has not run yet is BadRequest. With
// Follow the reader ends when the container does, or ctx. The caller closes it.
func (a *Agent) Logs(ctx context.Context, pod types.NamespacedName, name string, o corev1.PodLogOptions) (io.ReadCloser, error) {
	all, err := a.containers(ctx, pod)
	if err != nil {
		return nil, err
	}
	c, err := choose(pod, all, name, o.Previous)
	if err != nil {
		return nil, err
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: o.Follow, Timestamps: o.Timestamps}
	if o.TailLines != nil {
		options.Tail = strconv.FormatInt(*o.TailLines, 10)
	}
	switch {
	case o.SinceTime != nil:
		options.Since = o.SinceTime.Format(time.RFC3339Nano)
	case o.SinceSeconds != nil:
		options.Since = a.Clock().Add(-time.Duration(*o.SinceSeconds) * time.Second).Format(time.RFC3339Nano)
	}
	info, err := a.Docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return nil, fmt.Errorf("logs of pod %s: %w", pod, err)
	}
	stream, err := a.Docker.ContainerLogs(ctx, c.ID, options)
	if err != nil {
		return nil, fmt.Errorf("logs of pod %s: %w", pod, err)
	}
	out := stream
	if !info.Config.Tty {
		out = demultiplex(stream)
	}
	if o.LimitBytes != nil {
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(out, *o.LimitBytes), out}, nil
	}
	return out, nil
}

// choose finds the newest container of a name, or with previous the one before it.
func choose(pod types.NamespacedName, all []Container, name string, previous bool) (c Container, err error) {
	var newest, before *Container
	uid := newestPod(all)
	for i := range all {
		o := &all[i]
		if o.Kind == Sandbox || o.UID != uid || o.State == Created || name != "" && o.Name != name {
			continue
		}
		switch {
		case newest != nil && name == "" && o.Name != newest.Name:
			return c, apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
		case newest == nil || o.Attempt > newest.Attempt:
			newest, before = o, newest
		case before == nil || o.Attempt > before.Attempt:
			before = o
		}
	}
	switch {
	case newest == nil:
		return c, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is not available: it has not run", name, pod.Name))
	case previous && before == nil:
		return c, apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", newest.Name, pod.Name))
	case previous:
		return *before, nil
	}
	return *newest, nil
}

// newestPod is the pod that the containers with the latest start belong to: a name may
// still have containers of a pod that was deleted.
func newestPod(all []Container) (uid types.UID) {
	var latest time.Time
	for _, c := range all {
		if uid == "" || c.StartedAt.After(latest) {
			uid, latest = c.UID, c.StartedAt
		}
	}
	return uid
}

// demultiplex joins the two streams of a container without a terminal.
func demultiplex(stream io.ReadCloser) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(w, w, stream)
		_ = w.CloseWithError(err)
	}()
	return struct {
		io.Reader
		io.Closer
	}{r, closers{r, stream}}
}

type closers []io.Closer

func (cs closers) Close() error {
	var first error
	for _, c := range cs {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
