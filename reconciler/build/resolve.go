package build

import (
	"context"
	"fmt"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// resolve replaces the stream references of a build by the images they name now, so
// that the build is the same whenever it runs. What cannot be resolved stays as it is,
// and holds the build back in phase New.
func (c *Controller) resolve(ctx context.Context, b *buildv1.Build) error {
	for _, ref := range inputs(b) {
		if err := c.resolveRef(ctx, b.Namespace, ref); err != nil {
			return err
		}
	}
	return nil
}

func inputs(b *buildv1.Build) []*corev1.ObjectReference {
	var refs []*corev1.ObjectReference
	s := &b.Spec.Strategy
	switch {
	case s.SourceStrategy != nil:
		refs = append(refs, &s.SourceStrategy.From)
	case s.DockerStrategy != nil && s.DockerStrategy.From != nil:
		refs = append(refs, s.DockerStrategy.From)
	case s.CustomStrategy != nil:
		refs = append(refs, &s.CustomStrategy.From)
	}
	for i := range b.Spec.Source.Images {
		refs = append(refs, &b.Spec.Source.Images[i].From)
	}
	return refs
}

func (c *Controller) resolveRef(ctx context.Context, namespace string, ref *corev1.ObjectReference) error {
	if ref.Kind == "DockerImage" || ref.Kind == "" {
		return nil
	}
	image, err := c.image(ctx, namespace, *ref)
	if err != nil || image == "" {
		return err
	}
	*ref = corev1.ObjectReference{Kind: "DockerImage", Name: image}
	return nil
}

// image is the pull spec of the image that a reference names now; empty: none yet.
func (c *Controller) image(ctx context.Context, namespace string, ref corev1.ObjectReference) (string, error) {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	var stream imagev1.ImageStream
	get := func(name string) (bool, error) {
		err := c.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &stream)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
	switch ref.Kind {
	case "DockerImage":
		return ref.Name, nil
	case "ImageStreamTag":
		name, tag, _ := strings.Cut(ref.Name, ":")
		if found, err := get(name); err != nil || !found {
			return "", err
		}
		return tagged(&stream, tag), nil
	case "ImageStreamImage":
		name, digest, _ := strings.Cut(ref.Name, "@")
		if found, err := get(name); err != nil || !found || stream.Status.DockerImageRepository == "" {
			return "", err
		}
		return stream.Status.DockerImageRepository + "@" + digest, nil
	}
	return "", fmt.Errorf("image reference of kind %q: want ImageStreamTag, ImageStreamImage or DockerImage", ref.Kind)
}

func tagged(stream *imagev1.ImageStream, tag string) string {
	if tag == "" {
		tag = "latest"
	}
	for _, t := range stream.Status.Tags {
		if t.Tag == tag && len(t.Items) > 0 {
			return t.Items[0].DockerImageReference
		}
	}
	return ""
}

// unresolved is the first input that names no image yet; empty: none.
func unresolved(b *buildv1.Build) string {
	for _, ref := range inputs(b) {
		if ref.Kind != "DockerImage" && ref.Kind != "" {
			return ref.Kind + " " + ref.Name
		}
	}
	return ""
}
