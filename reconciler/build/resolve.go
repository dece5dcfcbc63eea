package build

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// The kinds of references to images.
const (
	kindTag    = "ImageStreamTag"
	kindImage  = "ImageStreamImage"
	kindDocker = "DockerImage"
)

// resolve replaces the stream references of a build by the images they name now, or by
// what fired it, so that the build is the same whenever it runs. What cannot be resolved
// stays as it is, and holds the build back in phase New.
func (c *Controller) resolve(ctx context.Context, b *buildv1.Build, list []Fired) error {
	for _, ref := range inputs(b) {
		if ref.Kind == kindDocker {
			continue
		}
		image := firedImage(list, b.Namespace, *ref)
		if image == "" {
			var err error
			if image, err = c.image(ctx, b.Namespace, *ref); err != nil {
				return err
			}
		}
		if image != "" {
			*ref = corev1.ObjectReference{Kind: kindDocker, Name: image}
		}
	}
	return nil
}

func firedImage(list []Fired, namespace string, ref corev1.ObjectReference) string {
	for _, f := range list {
		if ref.Kind == kindTag && f.From.Name == ref.Name && f.From.Namespace == cmp.Or(ref.Namespace, namespace) {
			return f.Image
		}
	}
	return ""
}

// inputs are the references to the images that a build is made from.
func inputs(b *buildv1.Build) []*corev1.ObjectReference {
	var refs []*corev1.ObjectReference
	if from := strategyFrom(b.Spec.Strategy); from != nil {
		refs = append(refs, from)
	}
	for i := range b.Spec.Source.Images {
		refs = append(refs, &b.Spec.Source.Images[i].From)
	}
	return refs
}

// unresolved is the first input that names no image yet; empty: none.
func unresolved(b *buildv1.Build) string {
	for _, ref := range inputs(b) {
		if ref.Kind != kindDocker {
			return ref.Kind + " " + ref.Name
		}
	}
	return ""
}

// image is the pull spec of the image that a reference names now; empty: none yet.
func (c *Controller) image(ctx context.Context, namespace string, ref corev1.ObjectReference) (string, error) {
	switch ref.Kind {
	case kindDocker:
		return ref.Name, nil
	case kindTag:
		_, tag, err := api.ParseImageStreamTag(ref.Name)
		if err != nil {
			return "", fmt.Errorf("ImageStreamTag %q: %w", ref.Name, err)
		}
		stream, err := c.stream(ctx, streamOf(ref, namespace))
		if err != nil || stream == nil {
			return "", err
		}
		return tagged(stream, tag), nil
	case kindImage:
		_, digest, err := api.ParseImageStreamImage(ref.Name)
		if err != nil {
			return "", fmt.Errorf("ImageStreamImage %q: %w", ref.Name, err)
		}
		stream, err := c.stream(ctx, streamOf(ref, namespace))
		if err != nil || stream == nil {
			return "", err
		}
		return recorded(stream, digest), nil
	}
	return "", fmt.Errorf("image reference of kind %q: want ImageStreamTag, ImageStreamImage or DockerImage", ref.Kind)
}

// stream is nil where there is none.
func (c *Controller) stream(ctx context.Context, key types.NamespacedName) (*imagev1.ImageStream, error) {
	stream := &imagev1.ImageStream{}
	err := c.Client.Get(ctx, key, stream)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return stream, err
}

// tagged is the newest image of a tag, through our registry where the tag's reference
// policy is Local.
func tagged(stream *imagev1.ImageStream, tag string) string {
	for _, t := range stream.Status.Tags {
		if t.Tag != tag || len(t.Items) == 0 {
			continue
		}
		newest := t.Items[0]
		for _, spec := range stream.Spec.Tags {
			if spec.Name == tag && spec.ReferencePolicy.Type == imagev1.LocalTagReferencePolicy && newest.Image != "" && stream.Status.DockerImageRepository != "" {
				return stream.Status.DockerImageRepository + "@" + newest.Image
			}
		}
		return newest.DockerImageReference
	}
	return ""
}

// recorded is an image that a stream has, or had, a tag on.
func recorded(stream *imagev1.ImageStream, digest string) string {
	for _, t := range stream.Status.Tags {
		for _, item := range t.Items {
			if item.Image == digest {
				return item.DockerImageReference
			}
		}
	}
	return ""
}

// output is where the image is pushed to: `registry/project/stream:tag`; empty: the
// stream is not there yet.
func (c *Controller) output(ctx context.Context, b *buildv1.Build) (string, error) {
	to := b.Spec.Output.To
	switch {
	case to == nil:
		return "", nil
	case to.Kind == kindDocker:
		return to.Name, nil
	}
	_, tag, err := api.ParseImageStreamTag(to.Name)
	if err != nil {
		return "", fmt.Errorf("spec.output.to.name %q: %w", to.Name, err)
	}
	stream, err := c.stream(ctx, streamOf(*to, b.Namespace))
	if err != nil || stream == nil || stream.Status.DockerImageRepository == "" {
		return "", err
	}
	return stream.Status.DockerImageRepository + ":" + tag, nil
}

// streamOf is the stream of a reference to a tag or to an image.
func streamOf(ref corev1.ObjectReference, namespace string) types.NamespacedName {
	name := ref.Name
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	return types.NamespacedName{Namespace: cmp.Or(ref.Namespace, namespace), Name: name}
}
