package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	imagev1 "github.com/openshift/api/image/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// ErrNoProject says that an image was pushed to a project that does not exist.
var ErrNoProject = errors.New("the project does not exist")

// Push is a tag that was pushed to the integrated registry, and the manifest it names.
type Push struct {
	// Repository is `project/stream`.
	Repository string
	// Tag is empty for a push by digest.
	Tag string
	// Digest of the manifest, `sha256:…`.
	Digest    string
	MediaType string
	Manifest  []byte
	// Config is the image's configuration; nil for an index.
	Config []byte
	// Size of config and layers, in bytes; 0 for an index.
	Size int64
}

// Sink makes pushes known to the image streams.
type Sink struct{ Deps }

// NewSink makes a Sink; of the Deps it needs Client, Registry and Events.
func NewSink(d Deps) Sink { return Sink{d.complete()} }

// Pushed records a push: the Image by its digest, and the tag's newest event. The
// stream is made where the project exists. The same push again changes nothing. A
// repository that is not `project/stream` is no stream's, and nobody's affair here.
func (s Sink) Pushed(ctx context.Context, p Push) error {
	namespace, name, ok := strings.Cut(p.Repository, "/")
	if !ok || strings.Contains(name, "/") {
		return nil
	}
	key := loop.Key{Namespace: namespace, Name: name}
	ref := repository(s.Registry, key) + "@" + p.Digest
	image, err := newImage(ref, p.Digest, p.MediaType, p.Manifest, p.Config)
	if err != nil {
		return err
	}
	image.Annotations = map[string]string{imagev1.ManagedByOpenShiftAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"}
	if err := s.ensureStream(ctx, key); err != nil {
		return fmt.Errorf("push to %s: %w", p.Repository, err)
	}
	if err := s.Client.Create(ctx, image); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("image %s: %w", p.Digest, err)
	}
	if p.Tag == "" {
		return nil
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var stream imagev1.ImageStream
		if err := s.Client.Get(ctx, key, &stream); err != nil {
			return err
		}
		before := stream.Status.DeepCopy()
		stream.Status.DockerImageRepository = repository(s.Registry, key)
		addEvent(&stream.Status, p.Tag, imagev1.TagEvent{
			Created: metav1.NewTime(s.Clock()), DockerImageReference: ref, Image: p.Digest, Generation: stream.Generation,
		})
		if equality.Semantic.DeepEqual(*before, stream.Status) {
			return nil
		}
		if err := s.Client.Status().Update(ctx, &stream); err != nil {
			return err
		}
		s.Events.Event(&stream, corev1.EventTypeNormal, "ImagePushed", "Tag %s is now %s", p.Tag, p.Digest)
		return nil
	})
}

func (s Sink) ensureStream(ctx context.Context, key loop.Key) error {
	var stream imagev1.ImageStream
	err := s.Client.Get(ctx, key, &stream)
	if !apierrors.IsNotFound(err) {
		return err
	}
	var project projectv1.Project
	if err := s.Client.Get(ctx, client.ObjectKey{Name: key.Namespace}, &project); apierrors.IsNotFound(err) || err == nil && project.DeletionTimestamp != nil {
		return fmt.Errorf("%w: %s", ErrNoProject, key.Namespace)
	} else if err != nil {
		return err
	}
	stream = imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := s.Client.Create(ctx, &stream); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}
