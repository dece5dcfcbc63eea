package builder

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// dockerStrategy builds the source's Dockerfile.
func (j *job) dockerStrategy(ctx context.Context, s *buildv1.DockerBuildStrategy) error {
	name := s.DockerfilePath
	if name == "" {
		name = "Dockerfile"
	}
	original, err := j.dockerfile(name)
	if err != nil {
		return fail(buildv1.StatusReasonManageDockerfileFailed, err)
	}
	from := ""
	if s.From != nil {
		from = s.From.Name
		if err := j.pull(ctx, from, s.ForcePull); err != nil {
			return err
		}
	}
	dockerfile, err := rewrite(original, from, environment(j.build, j.rev, s.Env), imageLabels(j.build, j.rev))
	if err != nil {
		return fail(buildv1.StatusReasonManageDockerfileFailed, fmt.Errorf("%s: %w", name, err))
	}
	j.image, err = j.imageBuild(ctx, dockerfile, s)
	return fail(buildv1.StatusReasonDockerBuildFailed, err)
}

func (j *job) dockerfile(name string) ([]byte, error) {
	if inline := j.build.Spec.Source.Dockerfile; inline != nil {
		return []byte(*inline), nil
	}
	data, err := fs.ReadFile(j.tree, path.Clean(name))
	if err != nil {
		return nil, fmt.Errorf("spec.strategy.dockerStrategy.dockerfilePath: %w", err)
	}
	return data, nil
}

func (j *job) imageBuild(ctx context.Context, dockerfile []byte, s *buildv1.DockerBuildStrategy) (string, error) {
	const name = ".slipway.Dockerfile"
	ignored, err := ignoreFile(j.tree, ".dockerignore")
	if err != nil {
		return "", err
	}
	body := stream(func(w *tar.Writer) error {
		if err := writeFile(w, file{name, dockerfile, 0o644}, j.rev.When); err != nil {
			return err
		}
		return writeTree(w, j.tree, "", ignored, j.rev.When)
	})
	defer body.Close()
	args := map[string]*string{}
	for _, a := range s.BuildArgs {
		args[a.Name] = &a.Value
	}
	net, err := j.network(ctx)
	if err != nil {
		return "", err
	}
	res, err := j.Docker.ImageBuild(ctx, body, build.ImageBuildOptions{
		Dockerfile: name, BuildArgs: args, NoCache: s.NoCache, Remove: true, ForceRemove: true,
		NetworkMode: net, Memory: memory(j.build.Spec.Resources), Labels: j.marks(),
	})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return j.follow(res.Body)
}

// follow copies the engine's messages to the log and finds the image that was made.
func (j *job) follow(body io.Reader) (id string, err error) {
	d := json.NewDecoder(bufio.NewReader(body))
	for {
		var m struct {
			Stream, Status, Error string
			Aux                   struct{ ID, Digest string }
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return id, nil
		} else if err != nil {
			return "", err
		}
		if m.Error != "" {
			return "", errors.New(strings.TrimSpace(m.Error))
		}
		_, _ = io.WriteString(j.out, m.Stream)
		if m.Aux.ID != "" {
			id = m.Aux.ID
		}
		if m.Aux.Digest != "" {
			id = m.Aux.Digest
		}
	}
}

// pull makes an image present; one that is named by digest and is here already is not
// asked for again.
func (j *job) pull(ctx context.Context, ref string, force bool) error {
	if !force {
		if _, err := j.Docker.ImageInspect(ctx, ref); err == nil {
			return nil
		}
	}
	auth, err := j.auth(ref)
	if err != nil {
		return err
	}
	body, err := j.Docker.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err == nil {
		_, err = j.follow(body)
		body.Close()
	}
	if err != nil {
		return fail(buildv1.StatusReasonPullBuilderImageFailed, fmt.Errorf("pull %s: %w", ref, err))
	}
	return nil
}

// network that a build's own commands are given: what the node says, else the engine's
// bridge where it has one, else none.
func (j *job) network(ctx context.Context) (string, error) {
	if j.Options.Network != "" {
		return j.Options.Network, nil
	}
	_, err := j.Docker.NetworkInspect(ctx, "bridge", network.InspectOptions{})
	switch {
	case err == nil:
		return "bridge", nil
	case client.IsErrNotFound(err):
		return "none", nil
	}
	return "", err
}

// postCommit runs the configuration's hook in the new image, before it is pushed. Its
// container is thrown away: it changes nothing about the image.
func (j *job) postCommit(ctx context.Context) error {
	p := j.build.Spec.PostCommit
	var entrypoint, cmd []string
	switch {
	case p.Script != "":
		entrypoint, cmd = []string{"/bin/sh", "-ic"}, append([]string{p.Script, "/bin/sh"}, p.Args...)
	case len(p.Command) > 0:
		entrypoint, cmd = p.Command, p.Args
	case len(p.Args) > 0:
		cmd = p.Args
	default:
		return nil
	}
	net, err := j.network(ctx)
	if err != nil {
		return err
	}
	_, err = j.runContainer(ctx, &container.Config{Image: j.image, Entrypoint: entrypoint, Cmd: cmd, Labels: j.marks()}, net, nil)
	return fail(buildv1.StatusReasonPostCommitHookFailed, err)
}

// marks label what a build makes on the engine, so that it can be found and removed.
func (j *job) marks() map[string]string {
	return map[string]string{"slipway.dev/build": j.build.Namespace + "/" + j.build.Name}
}

func memory(r corev1.ResourceRequirements) int64 {
	return r.Limits.Memory().Value()
}
