package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

// Exec runs a command in a container that runs, as the container's own user and within
// its limits, and answers with its exit code. The pod has an event about it, since git
// knows nothing of it. Whoever goes before the command does ends it: with ctx, or by
// taking no more of what it writes. A container that does not run is BadRequest.
func (a *Agent) Exec(ctx context.Context, x api.Exec) (code int, err error) {
	c, err := a.executing(ctx, x)
	if err != nil {
		return 0, err
	}
	e, err := a.Docker.ContainerExecCreate(ctx, c.ID, container.ExecOptions{
		Cmd: x.Command, Tty: x.TTY, AttachStdin: x.Stdin != nil, AttachStdout: true, AttachStderr: !x.TTY,
	})
	if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("container %s of pod %s has ended", x.Container, x.Pod.Name))
	}
	if err != nil {
		return 0, err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: x.Pod.Namespace, Name: x.Pod.Name, UID: c.UID}}
	a.say(pod, corev1.EventTypeWarning, "Exec", "Somebody ran %q in container %s", strings.Join(x.Command, " "), x.Container)
	conn, err := a.Docker.ContainerExecAttach(ctx, e.ID, container.ExecAttachOptions{Tty: x.TTY})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, conn.Close)()
	a.feed(ctx, e.ID, x, conn)
	if x.TTY {
		_, err = io.Copy(x.Stdout, conn.Reader)
	} else {
		_, err = stdcopy.StdCopy(x.Stdout, x.Stderr, conn.Reader)
	}
	if ctx.Err() != nil || err != nil {
		a.abandon(e.ID, c.ID)
		return 0, errors.Join(ctx.Err(), err)
	}
	return a.execEnd(ctx, e.ID)
}

// endOfTransmission is what a terminal takes for the end of what is typed (Ctrl-D).
const endOfTransmission = 4

// executing finds the container to run a command in.
func (a *Agent) executing(ctx context.Context, x api.Exec) (c Container, err error) {
	if len(x.Command) == 0 {
		return c, apierrors.NewBadRequest("you must specify at least 1 command for the container")
	}
	all, err := a.containers(ctx, x.Pod)
	if err != nil {
		return c, err
	}
	for _, c := range all {
		if c.Name == x.Container && c.Kind != Sandbox && c.State == Running {
			return c, nil
		}
	}
	return c, apierrors.NewBadRequest(fmt.Sprintf("container %q of pod %s does not run", x.Container, x.Pod.Name))
}

// feed gives a command what it is to read and its terminal its size, until ctx ends.
func (a *Agent) feed(ctx context.Context, id string, x api.Exec, conn types.HijackedResponse) {
	if x.Stdin != nil {
		go func() {
			_, _ = io.Copy(conn.Conn, x.Stdin)
			if x.TTY { // To close it would end what it writes, too: the engine takes that for a detachment.
				_, _ = conn.Conn.Write([]byte{endOfTransmission})
				return
			}
			_ = conn.CloseWrite()
		}()
	}
	if x.Sizes == nil {
		return
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s, ok := <-x.Sizes:
				if !ok {
					return
				}
				err := a.Docker.ContainerExecResize(ctx, id, container.ResizeOptions{Width: uint(s.Width), Height: uint(s.Height)})
				if err != nil && ctx.Err() == nil {
					a.Log.Debug("resize a terminal", "error", err)
				}
			}
		}
	}()
}

// execEnd waits for a command whose output has ended: it ends a moment later.
func (a *Agent) execEnd(ctx context.Context, id string) (code int, err error) {
	for {
		i, err := a.Docker.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, err
		}
		if !i.Running {
			return i.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
