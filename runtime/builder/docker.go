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
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/network"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

const dockerIgnore = ".dockerignore"

// dockerStrategy builds the source's Dockerfile.
func (j *job) dockerStrategy(ctx context.Context, s *buildv1.DockerBuildStrategy) error {
	name := "Dockerfile"
	if s.DockerfilePath != "" && j.build.Spec.Source.Dockerfile == nil {
		name = path.Clean(strings.TrimPrefix(s.DockerfilePath, "/"))
	}
	original, err := j.dockerfile(name)
	if err != nil {
		return fail(buildv1.StatusReasonManageDockerfileFailed, err)
	}
	change := change{stages: map[string]string{}, labels: imageLabels(j.build, j.rev)}
	if s.From != nil {
		change.from = s.From.Name
		if err := j.pull(ctx, change.from, s.ForcePull, s.PullSecret); err != nil {
			return err
		}
	}
	for _, i := range j.build.Spec.Source.Images {
		for _, as := range i.As {
			if err := j.pull(ctx, i.From.Name, s.ForcePull, i.PullSecret); err != nil {
				return err
			}
			change.stages[as] = i.From.Name
		}
	}
	env, err := j.values(ctx, s.Env)
	if err != nil {
		return err
	}
	change.stageEnv, change.env = env, buildEnv(j.build, j.rev)
	dockerfile, err := rewrite(original, change)
	if err != nil {
		return fail(buildv1.StatusReasonManageDockerfileFailed, fmt.Errorf("%s: %w", name, err))
	}
	in, err := j.inputs(ctx)
	if err != nil {
		return err
	}
	j.image, err = j.imageBuild(ctx, file{name, dockerfile, 0o644}, in, s)
	return fail(buildv1.StatusReasonDockerBuildFailed, err)
}

func (j *job) config() string { return j.build.Namespace + "/" + configOf(j.build.Name) }

func (j *job) dockerfile(name string) ([]byte, error) {
	if inline := j.build.Spec.Source.Dockerfile; inline != nil {
		return []byte(*inline), nil
	}
	data, err := fs.ReadFile(j.tree, name)
	if err != nil {
		return nil, fmt.Errorf("spec.strategy.dockerStrategy.dockerfilePath: %w", err)
	}
	return data, nil
}

// imageBuild has the engine build, with the Dockerfile in the place of the tree's own.
func (j *job) imageBuild(ctx context.Context, dockerfile file, in inputs, s *buildv1.DockerBuildStrategy) (string, error) {
	ignored, err := ignoreFile(j.tree, dockerIgnore, true)
	if err != nil {
		return "", err
	}
	values, err := j.values(ctx, s.BuildArgs)
	if err != nil {
		return "", err
	}
	args := map[string]*string{}
	for _, a := range values {
		args[a.Name] = &a.Value
	}
	auths, err := j.auths(ctx, s.PullSecret)
	if err != nil {
		return "", err
	}
	net, err := j.network(ctx)
	if err != nil {
		return "", err
	}
	body := stream(func(w *tar.Writer) error {
		l := layer{Writer: w, when: j.rev.When}
		if err := l.tree(j.tree, "", ignored.but(dockerfile.name).but(dockerIgnore)); err != nil {
			return err
		}
		if err := l.file(dockerfile); err != nil {
			return err
		}
		// The engine takes this one and the Dockerfile out itself, where they are ignored.
		if rules, err := fs.ReadFile(j.tree, dockerIgnore); err == nil {
			if err := l.file(file{dockerIgnore, rules, 0o644}); err != nil {
				return err
			}
		}
		return j.addInputs(ctx, &l, "", in)
	})
	defer body.Close()
	res, err := j.Docker.ImageBuild(ctx, body, build.ImageBuildOptions{
		Dockerfile: dockerfile.name, BuildArgs: args, AuthConfigs: auths, Remove: true, ForceRemove: true,
		NoCache: s.NoCache, PullParent: s.ForcePull,
		NetworkMode: net, Memory: memory(j.build.Spec.Resources),
	})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return j.follow(res.Body)
}

// stepImage is how the engine says which image a step ended with.
var stepImage = regexp.MustCompile(`(?m)^ ---> ([0-9a-f]{12})$`)

// follow copies the engine's messages to the log and finds the image that was made.
func (j *job) follow(body io.Reader) (id string, err error) {
	d := json.NewDecoder(bufio.NewReader(body))
	for {
		var m struct {
			Stream, Error string
			Aux           struct{ ID, Digest string }
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
		for _, found := range stepImage.FindAllStringSubmatch(m.Stream, -1) {
			j.touched = append(j.touched, "sha256:"+found[1])
		}
		if m.Aux.ID != "" {
			id = m.Aux.ID
		}
		if m.Aux.Digest != "" {
			id = m.Aux.Digest
		}
	}
}

// network that a build's own commands are given: what the node says, else the engine's
// bridge where it has one, else none.
func (j *job) network(ctx context.Context) (string, error) {
	if j.Network != "" {
		return j.Network, nil
	}
	_, err := j.Docker.NetworkInspect(ctx, "bridge", network.InspectOptions{})
	switch {
	case err == nil:
		return "bridge", nil
	case errdefs.IsNotFound(err):
		return "none", nil
	}
	return "", err
}

func memory(r corev1.ResourceRequirements) int64 {
	return r.Limits.Memory().Value()
}
