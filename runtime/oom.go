package runtime

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/container"
)

const (
	// exitKilled is the exit code of who was ended by SIGKILL.
	exitKilled = 137
	// oomPatience is how long after a container's end the engine may learn that it was for
	// want of memory: the kernel tells it beside the end, and later when it has much to do.
	oomPatience = time.Second
)

// settled looks at a container that was killed, and not by the agent, until it is known
// whether it had used up its memory.
func (a *Agent) settled(ctx context.Context, i container.InspectResponse) (container.InspectResponse, error) {
	for {
		c := observed(i)
		age := a.Clock().Sub(c.FinishedAt)
		if c.State != Exited || c.ExitCode != exitKilled || c.OOMKilled || i.HostConfig == nil || i.HostConfig.Memory == 0 ||
			age < 0 || age > oomPatience || a.touched(c.ID) {
			return i, nil
		}
		select {
		case <-ctx.Done():
			return i, ctx.Err()
		case <-time.After(oomPatience / 20):
		}
		var err error
		if i, err = a.Docker.ContainerInspect(ctx, i.ID); err != nil {
			return i, err
		}
	}
}
