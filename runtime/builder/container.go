package builder

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"
	buildv1 "github.com/openshift/api/build/v1"
)

const (
	// maxPids is how many processes a build's container may have.
	maxPids = 4096
	// tailBytes is how much of a container's output an error repeats.
	tailBytes = 400
)

// step is a container of a build that runs to its end.
type step struct {
	config *container.Config
	// prepare runs before the start and keep after a good end, both with the container's
	// id; either may be nil.
	prepare, keep func(id string) error
	// stdout takes the container's output instead of the log.
	stdout io.Writer
}

// create makes a container. It is known by its name: a label would be inherited by the
// images that are committed from it, and then by the containers of those.
func (j *job) create(ctx context.Context, cfg *container.Config) (id string, err error) {
	net, err := j.network(ctx)
	if err != nil {
		return "", err
	}
	j.steps++
	pids := int64(maxPids)
	limits := j.build.Spec.Resources.Limits
	// Were the call cut off, the engine would make the container all the same, and nobody
	// would know its id.
	making, stop := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer stop()
	created, err := j.Docker.ContainerCreate(making, cfg, &container.HostConfig{
		NetworkMode: container.NetworkMode(net),
		SecurityOpt: []string{"no-new-privileges"},
		CapDrop:     []string{"NET_RAW", "MKNOD", "AUDIT_WRITE", "SYS_CHROOT"},
		Resources:   container.Resources{PidsLimit: &pids, Memory: limits.Memory().Value(), NanoCPUs: limits.Cpu().MilliValue() * 1e6},
	}, nil, nil, fmt.Sprintf("%s%d", containerPrefix(string(j.build.UID)), j.steps))
	if err == nil && ctx.Err() != nil {
		j.removeContainer(created.ID)
		err = ctx.Err()
	}
	return created.ID, err
}

func containerPrefix(uid string) string { return "slipway-build-" + uid + "-" }

// runStep runs a container to its end and removes it.
func (j *job) runStep(ctx context.Context, s step) error {
	id, err := j.create(ctx, s.config)
	if err != nil {
		return err
	}
	defer j.removeContainer(id)
	if s.prepare != nil {
		if err := s.prepare(id); err != nil {
			return err
		}
	}
	if err := j.await(ctx, id, s); err != nil {
		return err
	}
	if s.keep != nil {
		return s.keep(id)
	}
	return nil
}

// await starts a container, copies its output, and says how it ended.
func (j *job) await(ctx context.Context, id string, s step) error {
	out, err := j.Docker.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	last := &lastBytes{}
	log := io.MultiWriter(j.out, last)
	stdout := log
	if s.stdout != nil {
		stdout = s.stdout
	}
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(stdout, log, out.Reader)
		copied <- err
	}()
	// Nothing writes to the log once this returns.
	stop := func() { out.Close(); <-copied }
	exited, failed := j.Docker.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := j.Docker.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		stop()
		return err
	}
	select {
	case err := <-failed:
		stop()
		return err
	case end := <-exited:
		err := <-copied
		out.Close()
		if end.StatusCode != 0 {
			return j.ended(ctx, id, end.StatusCode, last.String())
		}
		if s.stdout != nil {
			return err
		}
		return nil
	}
}

func (j *job) ended(ctx context.Context, id string, code int64, last string) error {
	c, err := j.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{c.Path}, c.Args...), " ")
	if c.State.OOMKilled {
		return fail(buildv1.StatusReasonOutOfMemoryKilled, fmt.Errorf("%s was killed: it took more memory than the build's limit", command))
	}
	return fmt.Errorf("%s ended with code %d: %s", command, code, last)
}

// removeContainer takes a container away even if the build was cancelled.
func (b *Builder) removeContainer(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	err := b.Docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		b.Log.Warn("a build's container could not be removed", "container", id, "error", err)
	}
}

// removeContainers removes what an earlier process left of a build.
func (b *Builder) removeContainers(ctx context.Context, uid string) error {
	prefix := containerPrefix(uid)
	list, err := b.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", prefix))})
	if err != nil {
		return err
	}
	for _, c := range list {
		for _, name := range c.Names {
			if strings.HasPrefix(name, "/"+prefix) {
				b.removeContainer(c.ID)
			}
		}
	}
	return nil
}

// look is a container that never starts: a way to see the files of an image.
type look struct {
	*job
	id string
}

// lookInto opens an image's files; close it.
func (j *job) lookInto(ctx context.Context, image string) (*look, error) {
	// The engine insists on a command, also for what never runs.
	id, err := j.create(ctx, &container.Config{Image: image, Entrypoint: []string{}, Cmd: []string{"/"}})
	if err != nil {
		return nil, err
	}
	return &look{j, id}, nil
}

func (l *look) close() { l.removeContainer(l.id) }

func (l *look) exists(ctx context.Context, path string) (bool, error) {
	_, err := l.Docker.ContainerStatPath(ctx, l.id, path)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// read reads a regular file of at most max bytes; nil: it is not there.
func (l *look) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	body, _, err := l.Docker.CopyFromContainer(ctx, l.id, path)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	t := tar.NewReader(body)
	h, err := t.Next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case h.Typeflag != tar.TypeReg:
		return nil, nil
	case h.Size > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return io.ReadAll(t)
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if n := len(l.b) - tailBytes; n > 0 {
		l.b = l.b[n:]
	}
	return len(p), nil
}

func (l *lastBytes) String() string { return strings.ToValidUTF8(strings.TrimSpace(string(l.b)), "") }

// postCommit runs the configuration's hook in the new image, before it is pushed. Its
// container is thrown away: it changes nothing about the image.
func (j *job) postCommit(ctx context.Context) error {
	entrypoint, cmd := hook(j.build.Spec.PostCommit)
	if len(entrypoint)+len(cmd) == 0 {
		return nil
	}
	err := j.runStep(ctx, step{config: &container.Config{Image: j.image, Entrypoint: entrypoint, Cmd: cmd}})
	if err != nil {
		err = fmt.Errorf("spec.postCommit: %w", err)
	}
	return fail(buildv1.StatusReasonPostCommitHookFailed, err)
}

// hook is what a postCommit runs; nil and nil: nothing. Without an entrypoint the
// image's own is used. Source: OpenShift 3.11, pkg/build/apis/build, BuildPostCommitSpec.
func hook(p buildv1.BuildPostCommitSpec) (entrypoint, cmd []string) {
	switch {
	case p.Script != "" && len(p.Args) > 0:
		return []string{"/bin/sh", "-ic"}, append([]string{p.Script, "/bin/sh"}, p.Args...)
	case p.Script != "":
		return []string{"/bin/sh", "-ic"}, []string{p.Script}
	case len(p.Command) > 0:
		return p.Command, p.Args
	}
	return nil, p.Args
}
