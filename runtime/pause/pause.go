// Package pause makes the image of the process that holds a pod's namespaces. It waits,
// reaps orphans where the pod shares its process namespace, and ends at once when it is
// told to. The program is a few dozen instructions written here (see code.go), so that
// it needs neither a compiler nor a registry.
package pause

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"slipway.dev/slipway/runtime/scratch"
)

// Docker is what is asked of the engine.
type Docker interface {
	scratch.Loader
	ImageInspect(ctx context.Context, image string, _ ...client.ImageInspectOption) (image.InspectResponse, error)
	ImageRemove(ctx context.Context, image string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// Name is the image's name, which is made from the program's content.
func Name() (string, error) {
	program, err := Binary(runtime.GOARCH)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("slipway/pause:%.6x", sha256.Sum256(program)), nil
}

// Image makes sure that the engine has the image, and returns its name.
func Image(ctx context.Context, docker Docker) (ref string, err error) {
	ref, err = Name()
	if err != nil {
		return "", err
	}
	_, err = docker.ImageInspect(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("image %s: %w", ref, err)
	}
	return ref, load(ctx, docker, ref)
}

func load(ctx context.Context, docker Docker, ref string) error {
	program, err := Binary(runtime.GOARCH)
	if err != nil {
		return err
	}
	// The user is nobody: it needs no right at all.
	_, err = scratch.Load(ctx, docker, ref, []scratch.File{{Name: "pause", Mode: 0o755, Data: program}},
		scratch.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"})
	return err
}

// Remove takes the image away unless a container uses it.
func Remove(ctx context.Context, docker Docker) error {
	ref, err := Name()
	if err != nil {
		return err
	}
	_, err = docker.ImageRemove(ctx, ref, image.RemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	return nil
}
