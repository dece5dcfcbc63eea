package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

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
	if err := j.pull(ctx, s.From.Name, s.ForcePull, s.PullSecret); err != nil {
		return err
	}
	base, err := j.Docker.ImageInspect(ctx, s.From.Name)
	if err != nil {
		return fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	env, err := sourceEnv(j.tree)
	if err != nil {
		return fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	configured, err := j.values(ctx, s.Env)
	if err != nil {
		return err
	}
	env = append(append(env, buildEnv(j.build, j.rev)...), configured...)
	plan, err := j.plan(ctx, base, s.Scripts)
	if err != nil {
		return fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	if plan.in, err = j.inputs(ctx); err != nil {
		return err
	}
	if s.Incremental != nil && *s.Incremental {
		saved, err := j.saved(ctx, plan, env, s.PullSecret)
		if err != nil {
			return err
		}
		if saved != nil {
			defer saved.Close()
			plan.artifacts = saved
		}
	}
	return fail(buildv1.StatusReasonGenericBuildFailed, j.assemble(ctx, plan, env))
}

// plan decides how the source is assembled, looking into the builder image.
func (j *job) plan(ctx context.Context, base image.InspectResponse, override string) (assembly, error) {
	at, err := j.lookInto(ctx, base.ID)
	if err != nil {
		return assembly{}, err
	}
	defer at.close()
	a, err := planAssembly(base, j.tree, override, func(p string) (bool, error) { return at.exists(ctx, p) })
	if err != nil {
		return a, err
	}
	users, err := at.read(ctx, "/etc/passwd", maxMetadata)
	if err != nil {
		return a, err
	}
	groups, err := at.read(ctx, "/etc/group", maxMetadata)
	if err != nil {
		return a, err
	}
	a.uid, a.gid, err = owner(a.assembleAs, users, groups)
	return a, err
}

// assembly is how a source is assembled: a decision made before anything runs.
type assembly struct {
	image string
	// user runs the new image, assembleAs the assemble script; uid and gid are the
	// latter's, and own what is put into the container.
	user, assembleAs string
	uid, gid         int
	destination      string
	// assemble, run and save are the scripts' paths in the container; save is empty where
	// there is none.
	assemble, run, save string
	entrypoint          []string
	workingDir          string
	in                  inputs
	// artifacts is what the previous image saved; nil: nothing.
	artifacts *artifacts
}

// planAssembly finds the scripts, each on its own: first where the configuration says,
// then in the source's .s2i/bin, then where the image says.
func planAssembly(base image.InspectResponse, tree fs.FS, override string, exists func(string) (bool, error)) (assembly, error) {
	cfg := base.Config
	a := assembly{image: base.ID, user: cfg.User, assembleAs: cfg.User, destination: defaultDestination, workingDir: cfg.WorkingDir, entrypoint: cfg.Entrypoint}
	if d := cfg.Labels[labelDestination]; d != "" {
		if !path.IsAbs(d) {
			return a, fmt.Errorf("the builder image's label %s=%q is not an absolute path", labelDestination, d)
		}
		a.destination = path.Clean(d)
	}
	if u := cfg.Labels[labelAssembleUser]; u != "" {
		a.assembleAs = u
	}
	first, err := scriptsDir("spec.strategy.sourceStrategy.scripts", override)
	if err != nil {
		return a, err
	}
	last, err := scriptsDir("the builder image", imageScripts(cfg.Labels, cfg.Env))
	if err != nil {
		return a, err
	}
	find := func(name string) (string, error) {
		if first != "" {
			if found, err := exists(path.Join(first, name)); err != nil || found {
				return path.Join(first, name), err
			}
		}
		if info, err := fs.Stat(tree, path.Join(sourceScripts, name)); err == nil && info.Mode().IsRegular() {
			return path.Join(a.destination, "scripts", name), nil
		}
		if last == "" {
			return "", nil
		}
		found, err := exists(path.Join(last, name))
		if err != nil || !found {
			return "", err
		}
		return path.Join(last, name), nil
	}
	for name, at := range map[string]*string{"assemble": &a.assemble, "run": &a.run, "save-artifacts": &a.save} {
		if *at, err = find(name); err != nil {
			return a, err
		}
	}
	// In order: the message is the same each time.
	for _, s := range []struct{ name, at string }{{"assemble", a.assemble}, {"run", a.run}} {
		if s.at == "" {
			return a, fmt.Errorf("no %s script: neither %s/%s in the source, nor one where label %s of the builder image says", s.name, sourceScripts, s.name, labelScripts)
		}
	}
	return a, nil
}

func imageScripts(labels map[string]string, env []string) string {
	for _, l := range []string{labelScripts, labelScriptsDeprecated} {
		if url := labels[l]; url != "" {
			return url
		}
	}
	for _, e := range env {
		if k, v, _ := strings.Cut(e, "="); k == envScripts {
			return v
		}
	}
	return ""
}

// scriptsDir is the folder in the builder image that a URL names; empty for an empty URL.
// Scripts from elsewhere are not fetched: what a build runs comes from git or an image.
func scriptsDir(who, url string) (string, error) {
	if url == "" {
		return "", nil
	}
	dir, ok := strings.CutPrefix(url, "image://")
	if !ok || !path.IsAbs(dir) {
		return "", fmt.Errorf("%s: scripts URL %q: only image:///path is supported", who, url)
	}
	return path.Clean(dir), nil
}

// sourceEnv reads .s2i/environment: NAME=VALUE lines, # begins a comment.
func sourceEnv(tree fs.FS) ([]corev1.EnvVar, error) {
	data, err := fs.ReadFile(tree, sourceEnvironment)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var env []corev1.EnvVar
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		k = strings.TrimSpace(k)
		if !ok || k == "" || strings.ContainsAny(k+v, "\x00") {
			return nil, fmt.Errorf("%s:%d: want NAME=VALUE, not %.80q", sourceEnvironment, i+1, line)
		}
		env = append(env, corev1.EnvVar{Name: k, Value: strings.TrimSpace(v)})
	}
	return env, nil
}
