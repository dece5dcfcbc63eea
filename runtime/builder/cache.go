package builder

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// cleanupTime bounds what is removed after a build, which a cancelled one waits for too.
const cleanupTime = time.Minute

// What a build leaves on the engine is a layer cache for the next one of the same
// configuration, and no more: the finished image goes once it is pushed, its name too;
// the images of its steps stay, and those that the newest build had no use for go. So
// a configuration keeps one chain of images for each stage of its Dockerfile.

// discard removes the finished image. Its steps' images stay.
func (j *job) discard() {
	if j.image != "" {
		j.removeImage(j.image)
	}
}

func (b *Builder) removeImage(ref string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	_, err := b.Docker.ImageRemove(ctx, ref, image.RemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		b.Log.Debug("a built image stays: something uses it", "image", ref, "error", err)
	}
}

// tidy removes the cached images that this run neither made nor used. It waits for
// nobody: while another build of the configuration runs, that one will tidy up.
func (j *job) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	j.prune(ctx, j.config(), func(id string) bool {
		return slices.ContainsFunc(j.touched, func(begin string) bool { return strings.HasPrefix(id, begin) })
	})
}

func (b *Builder) prune(ctx context.Context, config string, keep func(id string) bool) {
	lock := b.caches.of(config)
	if !lock.TryLock() {
		return
	}
	defer lock.Unlock()
	list, err := b.Docker.ImageList(ctx, image.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", labelConfig+"="+config), filters.Arg("dangling", "true")),
	})
	if err != nil {
		b.Log.Warn("cached images cannot be listed", "buildconfig", config, "error", err)
		return
	}
	for _, i := range list {
		if keep(i.ID) {
			continue
		}
		if _, err := b.Docker.ImageRemove(ctx, i.ID, image.RemoveOptions{PruneChildren: true}); err != nil && !errdefs.IsNotFound(err) {
			b.Log.Debug("a cached image stays: something uses it", "image", i.ID, "error", err)
		}
	}
}
