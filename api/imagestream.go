package api

import (
	"encoding/json"
	"fmt"

	"github.com/openshift/api/image/docker10"
	imagev1 "github.com/openshift/api/image/v1"
)

// LabelCommit is the image label that names the commit an image was built from.
const LabelCommit = "io.openshift.build.commit.id"

// Resolve answers what a stream's tag points at now: the reference to pull, and the
// image's name, its digest. The image is empty where the tag only records a reference.
// A tag whose referencePolicy is Local is pulled through the integrated registry.
func Resolve(stream *imagev1.ImageStream, tag string) (reference, image string, ok bool) {
	if tag == "" {
		tag = imagev1.DefaultImageTag
	}
	for _, t := range stream.Status.Tags {
		if t.Tag != tag || len(t.Items) == 0 {
			continue
		}
		head := t.Items[0]
		for _, spec := range stream.Spec.Tags {
			if spec.Name == tag && spec.ReferencePolicy.Type == imagev1.LocalTagReferencePolicy && head.Image != "" && stream.Status.DockerImageRepository != "" {
				return stream.Status.DockerImageRepository + "@" + head.Image, head.Image, true
			}
		}
		return head.DockerImageReference, head.Image, true
	}
	return "", "", false
}

// ImageLabels reads the labels that an image was built with.
func ImageLabels(image *imagev1.Image) (map[string]string, error) {
	meta, known := image.DockerImageMetadata.Object.(*docker10.DockerImage)
	if !known {
		if len(image.DockerImageMetadata.Raw) == 0 {
			return nil, nil
		}
		meta = &docker10.DockerImage{}
		if err := json.Unmarshal(image.DockerImageMetadata.Raw, meta); err != nil {
			return nil, fmt.Errorf("image %s: dockerImageMetadata: %w", image.Name, err)
		}
	}
	if meta.Config == nil {
		return nil, nil
	}
	return meta.Config.Labels, nil
}
