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
	"maps"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	// imageMetadata is where assemble may leave labels for the image.
	imageMetadata = "/tmp/.s2i/image_metadata.json"
	// maxMetadata is how large that file, and those that name users, may be, in bytes.
	maxMetadata = 1 << 20
	// maxArtifacts is how much an image may save for the next build, in bytes.
	maxArtifacts = 4 << 30
)

// assemble runs the assemble script over the source and commits the result.
func (j *job) assemble(ctx context.Context, a assembly, env []corev1.EnvVar) error {
	ignored, err := ignoreFile(j.tree, s2iIgnore, false)
	if err != nil {
		return err
	}
	put := func(id string) error {
		return j.put(ctx, id, func(w *tar.Writer) error { return j.writeSource(ctx, w, a, ignored) })
	}
	return j.runStep(ctx, step{
		config: &container.Config{
			Image: a.image, User: a.assembleAs, Env: pairs(env),
			Entrypoint: []string{}, Cmd: []string{a.assemble},
		},
		prepare: put,
		keep:    func(id string) error { return j.commit(ctx, id, a, env) },
	})
}

// put unpacks a tar at a container's root.
func (j *job) put(ctx context.Context, id string, write func(*tar.Writer) error) error {
	body := stream(write)
	defer body.Close()
	return j.Docker.CopyToContainer(ctx, id, "/", body, container.CopyToContainerOptions{})
}

// commit makes the image: the secrets are emptied, what the builder image had for an
// entrypoint and a user is as it was, and run is its command.
func (j *job) commit(ctx context.Context, id string, a assembly, env []corev1.EnvVar) error {
	at := &look{j, id}
	if err := j.empty(ctx, at, a); err != nil {
		return fmt.Errorf("empty the secrets: %w", err)
	}
	labels := imageLabels(j.build, j.rev)
	data, err := at.read(ctx, imageMetadata, maxMetadata)
	if err != nil {
		return err
	}
	own, err := metadataLabels(data)
	if err != nil {
		return fmt.Errorf("%s: %w", imageMetadata, err)
	}
	maps.Copy(labels, own)
	user := a.user
	if user == "" && a.assembleAs != "" {
		user = "0" // or else the engine keeps the user that assemble ran as
	}
	res, err := j.Docker.ContainerCommit(ctx, id, container.CommitOptions{Config: &container.Config{
		Cmd: []string{a.run}, Entrypoint: entrypoint(a), User: user, WorkingDir: a.workingDir,
		Env: pairs(env), Labels: marked(j.build, labels),
	}})
	j.image = res.ID
	return err
}

// empty writes an empty file over each secret that assemble left where it was.
func (j *job) empty(ctx context.Context, at *look, a assembly) error {
	// The engine answers nothing about a container while something is put into it.
	secrets, err := a.in.secrets(a.workingDir, func(p string) (bool, error) { return at.exists(ctx, p) })
	if err != nil || len(secrets) == 0 {
		return err
	}
	return j.put(ctx, at.id, func(w *tar.Writer) error {
		l := layer{Writer: w, when: j.rev.When, uid: a.uid, gid: a.gid}
		for _, name := range secrets {
			if err := l.file(file{strings.TrimPrefix(name, "/"), nil, 0o644}); err != nil {
				return err
			}
		}
		return nil
	})
}

// entrypoint is what the new image keeps of its builder's: the build ran without it.
func entrypoint(a assembly) []string {
	if len(a.entrypoint) == 0 {
		return []string{}
	}
	return a.entrypoint
}

// metadataLabels reads what assemble left: {"labels":[{"name":"value"},…]}.
func metadataLabels(data []byte) (map[string]string, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var m struct{ Labels []map[string]string }
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, l := range m.Labels {
		maps.Copy(out, l)
	}
	return out, nil
}

// writeSource lays a source out as assemble expects it: src/, scripts/ and artifacts/
// below the destination, all owned by whom assemble runs as, and the secrets and
// config maps where they were asked for.
func (j *job) writeSource(ctx context.Context, w *tar.Writer, a assembly, ignored ignore) error {
	l := &layer{Writer: w, when: j.rev.When, uid: a.uid, gid: a.gid}
	root := strings.TrimPrefix(a.destination, "/")
	for _, dir := range []string{"src", "scripts", "artifacts"} {
		if err := l.dir(path.Join(root, dir)); err != nil {
			return err
		}
	}
	if err := l.tree(j.tree, path.Join(root, "src"), ignored); err != nil {
		return err
	}
	if err := j.addImages(ctx, l, path.Join(root, "src"), a.in.images); err != nil {
		return err
	}
	if err := l.scripts(j.tree, path.Join(root, "scripts")); err != nil {
		return err
	}
	for _, f := range a.in.placed(a.workingDir) {
		f.name = strings.TrimPrefix(f.name, "/")
		if err := l.file(f); err != nil {
			return err
		}
	}
	if a.artifacts == nil {
		return nil
	}
	saved := *l
	return saved.retar(bufio.NewReader(a.artifacts), path.Join(root, "artifacts"), func(name string) (string, bool) { return name, true })
}

// scripts writes the source's own scripts, executable whatever git says.
func (l *layer) scripts(tree fs.FS, prefix string) error {
	// A tree may refuse the sub-tree of a folder that it does not have.
	if _, err := fs.Stat(tree, sourceScripts); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	scripts, err := fs.Sub(tree, sourceScripts)
	if err != nil {
		return err
	}
	executable := *l
	executable.executable = true
	return executable.tree(scripts, prefix, ignore{})
}

// artifacts is a tar on disk that is gone once it is closed.
type artifacts struct {
	*os.File
	left int64
}

func (a *artifacts) Write(p []byte) (int, error) {
	if a.left -= int64(len(p)); a.left < 0 {
		return 0, fmt.Errorf("saved more than %d bytes", int64(maxArtifacts))
	}
	return a.File.Write(p)
}

// saved runs the previous image's save-artifacts; nil: there is nothing saved, and the
// build is a clean one. Only the end of the build itself is an error.
func (j *job) saved(ctx context.Context, a assembly, env []corev1.EnvVar, secret *corev1.LocalObjectReference) (*artifacts, error) {
	previous := j.build.Status.OutputDockerImageReference
	if a.save == "" || previous == "" {
		return nil, nil
	}
	saved, err := j.save(ctx, a, env, previous, secret)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		fmt.Fprintf(j.out, "nothing is kept of the previous image, the build is a clean one: %v\n", err)
		return nil, nil
	}
	return saved, nil
}

func (j *job) save(ctx context.Context, a assembly, env []corev1.EnvVar, previous string, secret *corev1.LocalObjectReference) (*artifacts, error) {
	lock := j.outputs.of(previous)
	lock.Lock()
	defer lock.Unlock()
	if err := j.pull(ctx, previous, true, secret); err != nil {
		return nil, err
	}
	defer j.removeImage(previous)
	f, err := os.CreateTemp(j.Dir, "artifacts-*.tar")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	out := &artifacts{File: f, left: maxArtifacts}
	err = j.runStep(ctx, step{
		config: &container.Config{Image: previous, User: a.user, Env: pairs(env), Entrypoint: []string{}, Cmd: []string{a.save}},
		prepare: func(id string) error {
			return j.put(ctx, id, func(w *tar.Writer) error {
				l := &layer{Writer: w, when: j.rev.When, uid: a.uid, gid: a.gid}
				return l.scripts(j.tree, strings.TrimPrefix(path.Join(a.destination, "scripts"), "/"))
			})
		},
		stdout: out,
	})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return out, nil
}

// owner finds who a container's user is: names are looked up in the image's own files; a
// number that they do not know has group 0, as with the engine.
func owner(user string, passwd, group []byte) (uid, gid int, err error) {
	if user == "" {
		return 0, 0, nil
	}
	name, groupName, hasGroup := strings.Cut(user, ":")
	uid, err = strconv.Atoi(name)
	known := err == nil
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 4 && (f[0] == name || known && f[2] == name) {
			u, err1 := strconv.Atoi(f[2])
			g, err2 := strconv.Atoi(f[3])
			if err1 == nil && err2 == nil {
				uid, gid, known = u, g, true
				break
			}
		}
	}
	if !known {
		return 0, 0, fail(buildv1.StatusReasonGenericBuildFailed, fmt.Errorf("the builder image has no user %q", name))
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(groupName); err == nil {
		return uid, gid, nil
	}
	for line := range strings.Lines(string(group)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 3 && f[0] == groupName {
			gid, err = strconv.Atoi(f[2])
			return uid, gid, err
		}
	}
	return 0, 0, fail(buildv1.StatusReasonGenericBuildFailed, fmt.Errorf("the builder image has no group %q", groupName))
}
