package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"slipway.dev/slipway/runtime/engine"
)

// Remove takes away every container that the agent of an instance made, whatever it
// does, and the pods' files below dir. It is for the end of a node, with no agent
// running: live state is not told.
func Remove(ctx context.Context, docker engine.Docker, instance, dir string) error {
	list, err := docker.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", LabelInstance+"="+instance)),
	})
	if err != nil {
		return fmt.Errorf("list the containers of %s: %w", instance, err)
	}
	var errs []error
	for _, c := range list {
		if err := docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			errs = append(errs, fmt.Errorf("remove container %s: %w", c.ID, err))
		}
	}
	return errors.Join(append(errs, Clear(dir))...)
}
