package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

type streams struct {
	Deps
	refs references
}

// unresolved is why a tag's source names no image: a state of the world, not of Slipway.
type unresolved struct{ reason, message string }

func (u unresolved) Error() string { return u.message }

func (c *streams) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s imagev1.ImageStream
	if err := c.Client.Get(ctx, key, &s); err != nil {
		if apierrors.IsNotFound(err) {
			c.refs.note(key)
		}
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if s.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	now := c.Clock()
	memory := readMemory(&s)
	plans, targets := map[string]work{}, []loop.Key{}
	status := *s.Status.DeepCopy()
	status.DockerImageRepository = repository(c.Registry, key)
	if c.PublicRegistry != "" {
		status.PublicDockerImageRepository = repository(c.PublicRegistry, key)
	}
	next := map[string]remembered{}
	for _, t := range s.Spec.Tags {
		w, err := planTag(&s, t, memory[t.Name], c.Registry, now)
		if err != nil {
			addFailure(&status, t.Name, s.Generation, "Invalid", err.Error(), now)
			continue
		}
		plans[t.Name], next[t.Name] = w, w.remember
		if w.stream.Name != "" && w.stream != key {
			targets = append(targets, w.stream)
		}
	}
	c.refs.note(key, targets...)

	after := time.Duration(0)
	for _, t := range s.Spec.Tags {
		w, planned := plans[t.Name]
		if !planned || w.kind == follow {
			continue
		}
		done, err := c.carryOut(ctx, &s, &status, t, w, now)
		if err != nil {
			return loop.Result{}, err
		}
		next[t.Name] = done
		if wait := nextLook(t, w, done); wait > 0 && (after == 0 || wait < after) {
			after = wait
		}
	}
	followTags(&s, &status, plans, now)
	return loop.Result{After: after}, c.write(ctx, &s, status, next)
}

// nextLook says when an import is due again.
func nextLook(t imagev1.TagReference, w work, done remembered) time.Duration {
	switch {
	case w.kind == imported && done.Failed:
		return retryAfter
	case w.kind == imported && t.ImportPolicy.Scheduled && w.reference.ID == "":
		return scheduledEvery
	}
	return w.again
}

// carryOut resolves one tag into the status, and says what to remember of it.
func (c *streams) carryOut(ctx context.Context, s *imagev1.ImageStream, status *imagev1.ImageStreamStatus, t imagev1.TagReference, w work, now time.Time) (remembered, error) {
	done := w.remember
	if w.kind == nothing {
		return done, nil
	}
	e, err := c.resolve(ctx, s, t, w)
	var none unresolved
	switch {
	case errors.As(err, &none):
		done.Failed = true
		addFailure(status, t.Name, done.Generation, none.reason, none.message, now)
		c.Events.Event(s, corev1.EventTypeWarning, "ImportFailed", "Tag %s: %s", t.Name, none.message)
		return done, nil
	case err != nil:
		return done, fmt.Errorf("imagestream %s/%s: tag %s: %w", s.Namespace, s.Name, t.Name, err)
	}
	done.Failed = false
	e.Created, e.Generation = metav1.NewTime(now), done.Generation
	addEvent(status, t.Name, e)
	return done, nil
}

func (c *streams) resolve(ctx context.Context, s *imagev1.ImageStream, t imagev1.TagReference, w work) (imagev1.TagEvent, error) {
	switch w.kind {
	case record:
		return imagev1.TagEvent{DockerImageReference: t.From.Name}, nil
	case imported:
		return c.imported(ctx, s.Namespace, t, w)
	}
	from := s
	if w.stream != client.ObjectKeyFromObject(s) {
		from = &imagev1.ImageStream{}
		if err := c.Client.Get(ctx, w.stream, from); apierrors.IsNotFound(err) {
			return imagev1.TagEvent{}, unresolved{"NotFound", fmt.Sprintf("image stream %s does not exist", w.stream)}
		} else if err != nil {
			return imagev1.TagEvent{}, err
		}
	}
	if w.kind == copied {
		ref, image, ok := api.Resolve(from, w.tag)
		if !ok {
			return imagev1.TagEvent{}, unresolved{"NotFound", fmt.Sprintf("image stream %s has no tag %s yet", w.stream, w.tag)}
		}
		return imagev1.TagEvent{DockerImageReference: ref, Image: image}, nil
	}
	if e, ok := eventOf(from, w.image); ok {
		return imagev1.TagEvent{DockerImageReference: e.DockerImageReference, Image: e.Image}, nil
	}
	// It may have fallen out of the history: an image that was pushed to that stream still is its image.
	var image imagev1.Image
	err := c.Client.Get(ctx, client.ObjectKey{Name: w.image}, &image)
	if client.IgnoreNotFound(err) != nil {
		return imagev1.TagEvent{}, err
	}
	if own := repository(c.Registry, w.stream) + "@" + w.image; err == nil && image.DockerImageReference == own {
		return imagev1.TagEvent{DockerImageReference: own, Image: w.image}, nil
	}
	return imagev1.TagEvent{}, unresolved{"NotFound", fmt.Sprintf("image stream %s has no image %s", w.stream, w.image)}
}

// followTags moves tags that follow another tag of the stream to where that one is
// now, through chains; a ring of tags follows nobody.
func followTags(s *imagev1.ImageStream, status *imagev1.ImageStreamStatus, plans map[string]work, now time.Time) {
	for range len(s.Spec.Tags) {
		before := status.DeepCopy()
		for _, t := range s.Spec.Tags {
			w := plans[t.Name]
			if w.kind != follow {
				continue
			}
			source := tagOf(status, w.tag)
			if len(source.Items) == 0 {
				addFailure(status, t.Name, w.remember.Generation, "NotFound", "tag "+w.tag+" of this stream names no image yet", now)
				continue
			}
			head := source.Items[0]
			head.Created, head.Generation = metav1.NewTime(now), w.remember.Generation
			addEvent(status, t.Name, head)
		}
		if equality.Semantic.DeepEqual(before, status) {
			return
		}
	}
}

// write writes the status first, then the memory: a process that dies between the two
// resolves the same again.
func (c *streams) write(ctx context.Context, s *imagev1.ImageStream, status imagev1.ImageStreamStatus, memory map[string]remembered) error {
	dropEmpty(&status)
	if !equality.Semantic.DeepEqual(status, s.Status) {
		s.Status = status
		if err := c.Client.Status().Update(ctx, s); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	text, err := json.Marshal(memory)
	if err != nil {
		return err
	}
	if old := s.Annotations[annotationSources]; old == string(text) || old == "" && len(memory) == 0 {
		return nil
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[annotationSources] = string(text)
	return client.IgnoreNotFound(c.Client.Update(ctx, s))
}

func dropEmpty(status *imagev1.ImageStreamStatus) {
	kept := status.Tags[:0]
	for _, t := range status.Tags {
		if len(t.Items) > 0 || len(t.Conditions) > 0 {
			kept = append(kept, t)
		}
	}
	status.Tags = kept
}

// repository is where a stream's images are in a registry.
func repository(registry string, stream loop.Key) string {
	return strings.Join([]string{registry, stream.Namespace, stream.Name}, "/")
}
