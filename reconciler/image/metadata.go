package image

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/openshift/api/image/docker10"
	imagev1 "github.com/openshift/api/image/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// manifest is what both Docker's and OCI's manifests and indexes say.
type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
}

// config is an image's configuration, as far as Images say it.
type config struct {
	Created      time.Time              `json:"created"`
	Author       string                 `json:"author"`
	Architecture string                 `json:"architecture"`
	Config       *docker10.DockerConfig `json:"config"`
}

// newImage makes the Image of a manifest. Of an index it lists the manifests; its
// configuration is nil.
func newImage(reference, digest, mediaType string, rawManifest, rawConfig []byte) (*imagev1.Image, error) {
	var m manifest
	if err := json.Unmarshal(rawManifest, &m); err != nil {
		return nil, fmt.Errorf("image %s: manifest: %w", reference, err)
	}
	image := &imagev1.Image{
		ObjectMeta: metav1.ObjectMeta{Name: digest},
		// The manifest itself stays in the registry.
		DockerImageReference: reference, DockerImageManifestMediaType: mediaType, DockerImageMetadataVersion: "1.0",
	}
	meta := docker10.DockerImage{TypeMeta: metav1.TypeMeta{Kind: "DockerImage", APIVersion: "image.openshift.io/1.0"}, ID: m.Config.Digest, Size: m.Config.Size}
	for _, l := range m.Layers {
		image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{Name: l.Digest, LayerSize: l.Size, MediaType: l.MediaType})
		meta.Size += l.Size
	}
	for _, d := range m.Manifests {
		one := imagev1.ImageManifest{Digest: d.Digest, MediaType: d.MediaType, ManifestSize: d.Size}
		if d.Platform != nil {
			one.Architecture, one.OS, one.Variant = d.Platform.Architecture, d.Platform.OS, d.Platform.Variant
		}
		image.DockerImageManifests = append(image.DockerImageManifests, one)
	}
	if len(rawConfig) > 0 {
		var c config
		if err := json.Unmarshal(rawConfig, &c); err != nil {
			return nil, fmt.Errorf("image %s: configuration: %w", reference, err)
		}
		meta.Author, meta.Architecture, meta.Config = c.Author, c.Architecture, c.Config
		meta.Created = metav1.NewTime(c.Created)
	}
	raw, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", reference, err)
	}
	image.DockerImageMetadata = runtime.RawExtension{Raw: raw}
	return image, nil
}
