package builder

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	buildv1 "github.com/openshift/api/build/v1"
)

// push sends the image to where the build's output goes and answers with its digest.
// A build without an output ends here.
func (j *job) push(ctx context.Context) (string, error) {
	to := j.build.Status.OutputDockerImageReference
	if to == "" {
		return "", nil
	}
	if err := j.Docker.ImageTag(ctx, j.image, to); err != nil {
		return "", fail(buildv1.StatusReasonPushImageToRegistryFailed, err)
	}
	auth, err := j.auth(to)
	if err != nil {
		return "", fail(buildv1.StatusReasonPushImageToRegistryFailed, err)
	}
	body, err := j.Docker.ImagePush(ctx, to, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return "", fail(buildv1.StatusReasonPushImageToRegistryFailed, fmt.Errorf("push %s: %w", to, err))
	}
	defer body.Close()
	digest, err := j.follow(body)
	if err == nil && !strings.HasPrefix(digest, "sha256:") {
		err = fmt.Errorf("the engine named no digest")
	}
	if err != nil {
		return "", fail(buildv1.StatusReasonPushImageToRegistryFailed, fmt.Errorf("push %s: %w", to, err))
	}
	fmt.Fprintf(j.out, "pushed %s@%s\n", to, digest)
	return digest, nil
}

// auth is the credential for our own registry; other registries get none of it.
func (j *job) auth(ref string) (string, error) {
	user, password := j.Registry()
	host, _, _ := strings.Cut(ref, "/")
	own, _, _ := strings.Cut(j.build.Status.OutputDockerImageReference, "/")
	cfg := registry.AuthConfig{}
	if host == own {
		cfg = registry.AuthConfig{Username: user, Password: password, ServerAddress: host}
	}
	return registry.EncodeAuthConfig(cfg)
}

// discard removes the build's own name for the image: the layers stay as long as a
// container or the engine's cache uses them.
func (j *job) discard() {
	if j.image == "" {
		return
	}
	ref := j.build.Status.OutputDockerImageReference
	if ref == "" {
		ref = j.image
	}
	if _, err := j.Docker.ImageRemove(context.Background(), ref, image.RemoveOptions{}); err != nil {
		j.Log.Debug("a built image could not be removed", "image", ref, "error", err)
	}
}
