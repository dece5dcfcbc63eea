package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// Remove takes away every image that came from, or went to, the registry at host, and
// what the builds of the configurations (`project/name`) left on the engine to build
// faster. It is for the end of a node: a container that still uses one of the images
// keeps it, and what others build on the engine is left alone.
func Remove(ctx context.Context, docker Docker, host string, configs []string) error {
	all, err := docker.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	cached, err := docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("dangling", "true"), filters.Arg("label", labelConfig))})
	if err != nil {
		return fmt.Errorf("list the images of builds: %w", err)
	}
	var errs []error
	for _, i := range append(all, cached...) {
		for _, ref := range references(i, host, configs) {
			_, err := docker.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
			if err == nil || errdefs.IsConflict(err) {
				continue
			}
			// It may have gone with an image that was made from it; engines differ in what
			// they say then.
			if _, gone := docker.ImageInspect(ctx, ref); !errdefs.IsNotFound(gone) {
				errs = append(errs, fmt.Errorf("remove image %s: %w", ref, err))
			}
		}
	}
	return errors.Join(errs...)
}

// references are the names of an image below a registry; an image of one of the
// configurations that has no name is known by its id.
func references(i image.Summary, host string, configs []string) []string {
	var out []string
	named := false
	for _, ref := range append(append([]string{}, i.RepoTags...), i.RepoDigests...) {
		if strings.HasPrefix(ref, "<none>") {
			continue
		}
		named = true
		if strings.HasPrefix(ref, host+"/") {
			out = append(out, ref)
		}
	}
	if !named && slices.Contains(configs, i.Labels[labelConfig]) {
		out = append(out, i.ID)
	}
	return out
}
