package builder

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

// inputs are what goes into a build besides its source.
type inputs struct {
	files  []inputFile
	images []imagePath
}

// inputFile is a key of a secret or config map.
type inputFile struct {
	// dir is relative to the context, or for S2I to the image's working directory; an
	// absolute one is S2I's only.
	dir, name string
	data      []byte
	// secret files do not stay in the image.
	secret bool
}

// imagePath is a file or folder of an image.
type imagePath struct {
	image string
	// path is absolute; content means what is in the folder, not the folder itself.
	path    string
	content bool
	// dir is relative to the source.
	dir string
}

// inputs reads the secrets and config maps, and pulls the images.
func (j *job) inputs(ctx context.Context) (inputs, error) {
	var in inputs
	src := j.build.Spec.Source
	for _, s := range src.Secrets {
		var secret corev1.Secret
		if err := j.required(ctx, "spec.source.secrets", s.Secret.Name, &secret); err != nil {
			return in, err
		}
		in.add(s.DestinationDir, secret.Data, true)
	}
	for _, m := range src.ConfigMaps {
		var cm corev1.ConfigMap
		if err := j.required(ctx, "spec.source.configMaps", m.ConfigMap.Name, &cm); err != nil {
			return in, err
		}
		data := maps.Clone(cm.BinaryData)
		if data == nil {
			data = map[string][]byte{}
		}
		for k, v := range cm.Data {
			data[k] = []byte(v)
		}
		in.add(m.DestinationDir, data, false)
	}
	for _, i := range src.Images {
		if len(i.Paths) == 0 {
			continue
		}
		if err := j.pull(ctx, i.From.Name, false, i.PullSecret); err != nil {
			return in, err
		}
		for _, p := range i.Paths {
			in.images = append(in.images, newImagePath(i.From.Name, p))
		}
	}
	return in, nil
}

func newImagePath(image string, p buildv1.ImageSourcePath) imagePath {
	out := imagePath{image: image, path: path.Clean(p.SourcePath), dir: path.Clean(strings.TrimPrefix(p.DestinationDir, "/"))}
	out.content = strings.HasSuffix(p.SourcePath, "/.") || out.path == "/"
	return out
}

func (j *job) required(ctx context.Context, at, name string, o kube.Object) error {
	found, err := j.get(ctx, name, o)
	if err == nil && !found {
		err = fmt.Errorf("%s is not there", name)
	}
	return fail(buildv1.StatusReasonFetchSourceFailed, wrap(err, at))
}

func (in *inputs) add(dir string, data map[string][]byte, secret bool) {
	for _, k := range slices.Sorted(maps.Keys(data)) {
		in.files = append(in.files, inputFile{dir: dir, name: k, data: data[k], secret: secret})
	}
}

// addInputs writes the files and the images' paths into a Docker context.
func (j *job) addInputs(ctx context.Context, l *layer, prefix string, in inputs) error {
	for _, f := range in.files {
		name := path.Join(prefix, strings.TrimPrefix(path.Join(f.dir, f.name), "/"))
		if err := l.file(file{name, f.data, 0o644}); err != nil {
			return err
		}
	}
	return j.addImages(ctx, l, prefix, in.images)
}

func (j *job) addImages(ctx context.Context, l *layer, prefix string, images []imagePath) error {
	for _, p := range images {
		err := j.addImage(ctx, l, prefix, p)
		if err := fail(buildv1.StatusReasonFetchImageContentFailed, wrap(err, "copy "+p.path+" of image "+p.image)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) addImage(ctx context.Context, l *layer, prefix string, p imagePath) error {
	at, err := j.lookInto(ctx, p.image)
	if err != nil {
		return err
	}
	defer at.close()
	body, _, err := j.Docker.CopyFromContainer(ctx, at.id, p.path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := l.dirs(prefix, p.dir); err != nil {
		return err
	}
	return l.retar(body, path.Join(prefix, p.dir), func(name string) (string, bool) {
		// The engine names entries from the path's last part on, or from the root's.
		if !p.content || p.path == "/" {
			return name, true
		}
		_, rest, below := strings.Cut(name, "/")
		return rest, below
	})
}

// placed are the S2I locations of the files: absolute, as the tar to / has them.
func (in inputs) placed(workingDir string) []file {
	var out []file
	for _, f := range in.files {
		out = append(out, file{f.at(workingDir), f.data, 0o644})
	}
	return out
}

func (f inputFile) at(workingDir string) string {
	dir := f.dir
	if !path.IsAbs(dir) {
		dir = path.Join("/", workingDir, dir)
	}
	return path.Join(dir, f.name)
}

// secrets are the places of the secrets that are still there.
func (in inputs) secrets(workingDir string, there func(string) (bool, error)) ([]string, error) {
	var out []string
	for _, f := range in.files {
		if !f.secret {
			continue
		}
		name := f.at(workingDir)
		found, err := there(name)
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, name)
		}
	}
	return out, nil
}
