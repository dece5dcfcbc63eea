package build

import (
	"context"
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tries is how often a build's number may turn out to be taken by somebody else.
const tries = 20

// Request says why a build starts and of what.
type Request struct {
	buildv1.BuildRequest
	// Fired are the images that the configuration's triggers name now. They are noted
	// with the build, so that each image fires once.
	Fired []Fired
}

// Instantiate makes the next Build of a BuildConfig. Of req it heeds Revision,
// TriggeredBy, Env, LastVersion and the strategies' options. Its errors are Kubernetes
// statuses: NotFound, Forbidden for a paused configuration, Conflict.
func (c *Controller) Instantiate(ctx context.Context, key types.NamespacedName, req *buildv1.BuildRequest) (*buildv1.Build, error) {
	resource := buildv1.Resource("buildconfigs")
	var refused error
	b, err := c.next(ctx, key, func(bc *buildv1.BuildConfig, images []string) (Request, bool) {
		refused = nil
		switch {
		case bc.DeletionTimestamp != nil:
			refused = apierrors.NewConflict(resource, bc.Name, fmt.Errorf("it is being deleted"))
		case paused(bc):
			refused = apierrors.NewForbidden(resource, bc.Name, fmt.Errorf("annotation %s is set", buildv1.BuildConfigPausedAnnotation))
		case req.LastVersion != nil && *req.LastVersion != bc.Status.LastVersion:
			refused = apierrors.NewConflict(resource, bc.Name, fmt.Errorf("its last version is %d, not %d", bc.Status.LastVersion, *req.LastVersion))
		}
		return Request{BuildRequest: *req, Fired: fired(bc, images)}, refused == nil
	})
	if err == nil {
		err = refused
	}
	return b, err
}

// next makes the next build of a configuration if want, asked with what is there now,
// wants one; nil if it does not.
//
// The Build is made first and its number noted then. A process that dies in between
// loses nothing: whoever comes next finds the number taken, notes it together with what
// that build was made for, and decides anew.
func (c *Controller) next(ctx context.Context, key types.NamespacedName, want func(*buildv1.BuildConfig, []string) (Request, bool)) (*buildv1.Build, error) {
	for range tries {
		bc := &buildv1.BuildConfig{}
		if err := c.Client.Get(ctx, key, bc); err != nil {
			return nil, err
		}
		images, err := c.triggerImages(ctx, bc)
		if err != nil {
			return nil, err
		}
		req, ok := want(bc, images)
		if !ok {
			return nil, nil
		}
		b := newBuild(bc, req)
		if err := c.resolve(ctx, b, req.Fired); err != nil {
			return nil, err
		}
		switch err := c.Client.Create(ctx, b); {
		case apierrors.IsAlreadyExists(err):
			if err := c.adopt(ctx, bc, b.Name); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, fmt.Errorf("create build %s/%s: %w", b.Namespace, b.Name, err)
		}
		c.Events.Event(bc, corev1.EventTypeNormal, "BuildInstantiated", "build %s: %s", b.Name, causes(req.TriggeredBy))
		return b, c.advance(ctx, bc, b)
	}
	return nil, apierrors.NewConflict(buildv1.Resource("buildconfigs"), key.Name, fmt.Errorf("%d numbers in a row were taken by others", tries))
}

func (c *Controller) triggerImages(ctx context.Context, bc *buildv1.BuildConfig) ([]string, error) {
	var images []string
	for _, ref := range imageTriggers(bc) {
		image, err := c.image(ctx, bc.Namespace, ref)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// adopt notes a build that was made but whose number was not noted.
func (c *Controller) adopt(ctx context.Context, bc *buildv1.BuildConfig, name string) error {
	b := &buildv1.Build{}
	if err := c.Client.Get(ctx, types.NamespacedName{Namespace: bc.Namespace, Name: name}, b); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(b, bc) {
		return apierrors.NewConflict(buildv1.Resource("builds"), name, fmt.Errorf("it belongs to an earlier BuildConfig of this name, and is being removed"))
	}
	return c.advance(ctx, bc, b)
}

// advance notes a build's number, and what fired it, in its configuration.
func (c *Controller) advance(ctx context.Context, bc *buildv1.BuildConfig, b *buildv1.Build) error {
	list, err := firedBy(b)
	if err != nil {
		return err
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := &buildv1.BuildConfig{}
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(bc), now); err != nil {
			return client.IgnoreNotFound(err)
		}
		if now.UID != bc.UID || now.Status.LastVersion >= number(b) {
			return nil
		}
		now.Status.LastVersion = number(b)
		note(now, list, metav1.NewTime(c.Now()))
		return c.Client.Status().Update(ctx, now)
	})
	if err != nil {
		return fmt.Errorf("note build %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func paused(bc *buildv1.BuildConfig) bool {
	return bc.Annotations[buildv1.BuildConfigPausedAnnotation] == "true"
}

func causes(list []buildv1.BuildTriggerCause) string {
	if len(list) == 0 {
		return "started by hand"
	}
	return list[0].Message
}
