package builder

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// push sends the image to where the build's output goes and answers with its digest.
// A build without an output ends here.
func (j *job) push(ctx context.Context) (string, error) {
	to := j.build.Status.OutputDockerImageReference
	if to == "" {
		return "", nil
	}
	digest, err := j.pushTo(ctx, to)
	if err != nil {
		return "", fail(buildv1.StatusReasonPushImageToRegistryFailed, fmt.Errorf("push %s: %w", to, err))
	}
	fmt.Fprintf(j.out, "pushed %s@%s\n", to, digest)
	return digest, nil
}

func (j *job) pushTo(ctx context.Context, to string) (digest string, err error) {
	own := j.Registry()
	if repository, ok := strings.CutPrefix(to, own.Host+"/"); ok && !strings.HasPrefix(repository, j.build.Namespace+"/") {
		return "", fmt.Errorf("a build of project %s pushes only into its own project", j.build.Namespace)
	}
	auths, err := j.auths(ctx, j.build.Spec.Output.PushSecret)
	if err != nil {
		return "", err
	}
	// Another build may push by the same name: it is this image's until it is pushed.
	lock := j.outputs.of(to)
	lock.Lock()
	defer lock.Unlock()
	if err := j.Docker.ImageTag(ctx, j.image, to); err != nil {
		return "", err
	}
	defer func() { j.removeImage(to) }()
	auth, err := registry.EncodeAuthConfig(auths[host(to)])
	if err != nil {
		return "", err
	}
	body, err := j.Docker.ImagePush(ctx, to, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return "", err
	}
	defer body.Close()
	digest, err = j.follow(body)
	if err == nil && !strings.HasPrefix(digest, "sha256:") {
		err = errors.New("the engine named no digest")
	}
	return digest, err
}

// pull makes an image present; one that is here already is not asked for again, unless
// forced.
func (j *job) pull(ctx context.Context, ref string, force bool, secret *corev1.LocalObjectReference) error {
	if j.Pulls == nil {
		return j.pullImage(ctx, ref, force, secret)
	}
	return j.Pulls(ctx, ref, func() error { return j.pullImage(ctx, ref, force, secret) })
}

func (j *job) pullImage(ctx context.Context, ref string, force bool, secret *corev1.LocalObjectReference) error {
	if !force {
		if _, err := j.Docker.ImageInspect(ctx, ref); err == nil {
			return nil
		}
	}
	auths, err := j.auths(ctx, secret)
	if err != nil {
		return fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	auth, err := registry.EncodeAuthConfig(auths[host(ref)])
	if err != nil {
		return err
	}
	body, err := j.Docker.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err == nil {
		_, err = j.follow(body)
		body.Close()
	}
	return fail(buildv1.StatusReasonPullBuilderImageFailed, wrap(err, "pull "+ref))
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// auths are the credentials by registry: those of the integrated one, and those that a
// secret of the build's project holds.
func (j *job) auths(ctx context.Context, ref *corev1.LocalObjectReference) (map[string]registry.AuthConfig, error) {
	own := j.Registry()
	auths := map[string]registry.AuthConfig{}
	if ref != nil {
		var secret corev1.Secret
		if err := j.Client.Get(ctx, types.NamespacedName{Namespace: j.build.Namespace, Name: ref.Name}, &secret); err != nil {
			return nil, err
		}
		var err error
		if auths, err = secretAuths(&secret); err != nil {
			return nil, fmt.Errorf("secret %s: %w", ref.Name, err)
		}
	}
	if own.User != "" {
		auths[own.Host] = registry.AuthConfig{Username: own.User, Password: own.Password, ServerAddress: own.Host}
	}
	return auths, nil
}

// secretAuths reads a secret of type dockerconfigjson or dockercfg.
func secretAuths(s *corev1.Secret) (map[string]registry.AuthConfig, error) {
	type entry struct{ Username, Password, Auth string }
	var list struct{ Auths map[string]entry }
	var err error
	if data, ok := s.Data[corev1.DockerConfigJsonKey]; ok {
		err = json.Unmarshal(data, &list)
	} else {
		err = json.Unmarshal(s.Data[corev1.DockerConfigKey], &list.Auths)
	}
	if err != nil {
		return nil, errors.New("holds no Docker configuration") // the parser's words may show the secret's
	}
	out := map[string]registry.AuthConfig{}
	for server, e := range list.Auths {
		name := strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
		name, _, _ = strings.Cut(name, "/")
		a := registry.AuthConfig{Username: e.Username, Password: e.Password, ServerAddress: server}
		if a.Username == "" {
			a.Username, a.Password = basic(e.Auth)
		}
		out[name] = a
	}
	return out, nil
}

// host is the registry of an image reference; Docker's own where none is named.
func host(ref string) string {
	first, _, found := strings.Cut(ref, "/")
	if !found || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "index.docker.io"
	}
	return first
}

// basic takes `user:password`, in base64, apart.
func basic(auth string) (user, password string) {
	data, err := base64.StdEncoding.DecodeString(auth)
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(data), ":")
	return user, password
}
