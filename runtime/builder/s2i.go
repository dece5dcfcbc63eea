package builder

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// What a builder image says about itself. Source: source-to-image, docs/builder_image.md.
const (
	labelScripts           = "io.openshift.s2i.scripts-url"
	labelScriptsDeprecated = "io.s2i.scripts-url"
	envScripts             = "STI_SCRIPTS_URL"
	labelDestination       = "io.openshift.s2i.destination"
	labelAssembleUser      = "io.openshift.s2i.assemble-user"
	defaultDestination     = "/tmp"
	sourceScripts          = ".s2i/bin"
	sourceEnvironment      = ".s2i/environment"
	s2iIgnore              = ".s2iignore"
)

// sourceStrategy puts the source into a builder image, runs its assemble script and
// commits the result, with the run script as its command.
func (j *job) sourceStrategy(ctx context.Context, s *buildv1.SourceBuildStrategy) error {
	if err := j.pull(ctx, s.From.Name, s.ForcePull); err != nil {
		return err
	}
	base, err := j.Docker.ImageInspect(ctx, s.From.Name)
	if err != nil {
		return fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	plan, err := planAssembly(base, j.tree, s.Scripts)
	if err != nil {
		return fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	env, err := sourceEnv(j.tree)
	if err != nil {
		return fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	env = append(env, environment(j.build, j.rev, s.Env)...)
	return fail(buildv1.StatusReasonGenericBuildFailed, j.assemble(ctx, plan, env))
}

// assembly is how a source is assembled: a decision made before anything runs.
type assembly struct {
	image       string
	user        string
	assembleAs  string
	destination string
	// assemble and run are the scripts' paths in the container.
	assemble, run string
	entrypoint    []string
	workingDir    string
}

// planAssembly finds the scripts, each on its own: those of the source's .s2i/bin win
// over those that the image names.
func planAssembly(base image.InspectResponse, tree fs.FS, override string) (assembly, error) {
	cfg := base.Config
	a := assembly{image: base.ID, user: cfg.User, assembleAs: cfg.User, destination: defaultDestination, workingDir: cfg.WorkingDir, entrypoint: cfg.Entrypoint}
	if d := cfg.Labels[labelDestination]; d != "" {
		a.destination = d
	}
	if u := cfg.Labels[labelAssembleUser]; u != "" {
		a.assembleAs = u
	}
	dir, err := scriptsDir(cfg.Labels, cfg.Env, override)
	if err != nil {
		return a, err
	}
	find := func(name string) (string, error) {
		if info, err := fs.Stat(tree, path.Join(sourceScripts, name)); err == nil && info.Mode().IsRegular() && override == "" {
			return path.Join(a.destination, "scripts", name), nil
		}
		if dir == "" {
			return "", fmt.Errorf("no %s script: neither %s/%s in the source nor label %s on the builder image", name, sourceScripts, name, labelScripts)
		}
		return path.Join(dir, name), nil
	}
	if a.assemble, err = find("assemble"); err != nil {
		return a, err
	}
	a.run, err = find("run")
	return a, err
}

// scriptsDir is the folder in the builder image that holds its scripts; empty: none named.
func scriptsDir(labels map[string]string, env []string, override string) (string, error) {
	url := override
	for _, l := range []string{labelScripts, labelScriptsDeprecated} {
		if url == "" {
			url = labels[l]
		}
	}
	for _, e := range env {
		if k, v, _ := strings.Cut(e, "="); k == envScripts && url == "" {
			url = v
		}
	}
	if url == "" {
		return "", nil
	}
	dir, ok := strings.CutPrefix(url, "image://")
	if !ok || !path.IsAbs(dir) {
		return "", fmt.Errorf("scripts URL %q: only image:///path is supported", url)
	}
	return dir, nil
}

// sourceEnv reads .s2i/environment: NAME=VALUE lines, # begins a comment.
func sourceEnv(tree fs.FS) ([]corev1.EnvVar, error) {
	data, err := fs.ReadFile(tree, sourceEnvironment)
	if err != nil {
		return nil, nil
	}
	var env []corev1.EnvVar
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(k) == "" {
			return nil, fmt.Errorf("%s:%d: want NAME=VALUE, not %q", sourceEnvironment, i+1, line)
		}
		env = append(env, corev1.EnvVar{Name: strings.TrimSpace(k), Value: v})
	}
	return env, nil
}

func (j *job) assemble(ctx context.Context, a assembly, env []corev1.EnvVar) error {
	net, err := j.network(ctx)
	if err != nil {
		return err
	}
	ignored, err := ignoreFile(j.tree, s2iIgnore)
	if err != nil {
		return err
	}
	put := func(id string) error {
		body := stream(func(w *tar.Writer) error { return writeSource(w, j.tree, ignored, j) })
		defer body.Close()
		return j.Docker.CopyToContainer(ctx, id, a.destination, body, container.CopyToContainerOptions{})
	}
	commit := func(id string) error {
		res, err := j.Docker.ContainerCommit(ctx, id, container.CommitOptions{Config: &container.Config{
			Cmd: []string{a.run}, Entrypoint: entrypoint(a), User: a.user, WorkingDir: a.workingDir,
			Env: pairs(env), Labels: imageLabels(j.build, j.rev),
		}})
		j.image = res.ID
		return err
	}
	_, err = j.runContainer(ctx, &container.Config{
		Image: a.image, User: a.assembleAs, Env: pairs(env), Labels: j.marks(),
		Entrypoint: []string{}, Cmd: []string{a.assemble},
	}, net, put, commit)
	return err
}

// entrypoint is what the new image keeps of its builder's: the build ran without it.
func entrypoint(a assembly) []string {
	if len(a.entrypoint) == 0 {
		return []string{}
	}
	return a.entrypoint
}

// writeSource lays a source out as assemble expects it: src/ and scripts/.
func writeSource(w *tar.Writer, tree fs.FS, ignored func(string) bool, j *job) error {
	for _, dir := range []string{"src", "scripts"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: j.rev.When}); err != nil {
			return err
		}
	}
	if err := writeTree(w, tree, "src", ignored, j.rev.When); err != nil {
		return err
	}
	if _, err := fs.Stat(tree, sourceScripts); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	scripts, err := fs.Sub(tree, sourceScripts)
	if err != nil {
		return err
	}
	return writeTree(w, scripts, "scripts", nothing, j.rev.When)
}
