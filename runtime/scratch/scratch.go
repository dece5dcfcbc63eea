// Package scratch makes images out of nothing: a few files and a configuration become
// an image without a registry, a base image or a build.
package scratch

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// File is a file, a symbolic link or a directory of an image.
type File struct {
	// Name is the path without a leading slash.
	Name string
	// Mode holds the permission bits, e.g. 0o755.
	Mode int64
	// Data is a file's content.
	Data []byte
	// Link is a symbolic link's target.
	Link string
	// Dir says that it is a directory.
	Dir bool
}

// Config is what a container made from the image runs; the names are the image
// specification's.
type Config struct {
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
}

// Loader is the part of a Docker client that takes an image.
type Loader interface {
	ImageLoad(ctx context.Context, input io.Reader, _ ...client.ImageLoadOption) (image.LoadResponse, error)
}

// Load makes the image of files and config, tags it with ref ("name:tag") and returns
// its id. The same input gives the same id; loading it twice changes nothing.
func Load(ctx context.Context, docker Loader, ref string, files []File, config Config) (id string, err error) {
	archive, id, err := Archive(ref, files, config)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", ref, err)
	}
	res, err := docker.ImageLoad(ctx, bytes.NewReader(archive), client.ImageLoadWithQuiet(true))
	if err != nil {
		return "", fmt.Errorf("image %s: %w", ref, err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	for {
		var m struct{ Error string }
		if err := dec.Decode(&m); err == io.EOF {
			return id, nil
		} else if err != nil {
			return "", fmt.Errorf("image %s: %w", ref, err)
		}
		if m.Error != "" {
			return "", fmt.Errorf("image %s: %s", ref, m.Error)
		}
	}
}

// Archive is the image in the format of `docker save`, and its id.
func Archive(ref string, files []File, config Config) (archive []byte, id string, err error) {
	layer, err := pack(files)
	if err != nil {
		return nil, "", err
	}
	type rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	body, err := json.Marshal(struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Created      string `json:"created"`
		Config       Config `json:"config"`
		RootFS       rootFS `json:"rootfs"`
	}{runtime.GOARCH, "linux", "1970-01-01T00:00:01Z", config, rootFS{"layers", []string{digest(layer)}}})
	if err != nil {
		return nil, "", err
	}
	id = digest(body)
	name := strings.TrimPrefix(id, "sha256:") + ".json"
	manifest, err := json.Marshal([]any{map[string]any{"Config": name, "RepoTags": []string{ref}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, "", err
	}
	archive, err = pack([]File{
		{Name: name, Mode: 0o644, Data: body},
		{Name: "layer.tar", Mode: 0o644, Data: layer},
		{Name: "manifest.json", Mode: 0o644, Data: manifest},
	})
	return archive, id, err
}

func pack(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		switch {
		case f.Dir:
			h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(f.Name, "/")+"/"
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
