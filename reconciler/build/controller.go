package build

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// NodeAnnotation binds a build to the node whose builder runs it.
const NodeAnnotation = "slipway.dev/node"

// Events tells people what happened.
type Events interface {
	Event(o client.Object, eventtype, reason, format string, args ...any)
}

// Controller follows BuildConfigs and their Builds.
type Controller struct {
	Client client.WithWatch
	Events Events
	Log    *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Controllers is the loop that follows BuildConfigs.
func (c *Controller) Controllers() []loop.Controller {
	if c.Now == nil {
		c.Now = time.Now
	}
	return []loop.Controller{{
		Name:    "build",
		Workers: 2,
		Watches: []loop.Watch{
			{List: &buildv1.BuildConfigList{}},
			{List: &buildv1.BuildList{}, Keys: configKey},
			{List: &imagev1.ImageStreamList{}, Keys: c.streamUsers},
		},
		Reconcile: c.Reconcile,
	}}
}

func configKey(o client.Object) []loop.Key {
	if name := o.GetLabels()[buildv1.BuildConfigLabel]; name != "" {
		return []loop.Key{{Namespace: o.GetNamespace(), Name: name}}
	}
	return nil
}

// streamUsers are the configurations that build from, or into, an image stream.
func (c *Controller) streamUsers(o client.Object) []loop.Key {
	var list buildv1.BuildConfigList
	if err := c.Client.List(context.Background(), &list); err != nil {
		c.Log.Warn("build configurations could not be read", "error", err)
		return nil
	}
	stream := o.GetNamespace() + "/" + o.GetName()
	var keys []loop.Key
	for _, bc := range list.Items {
		refs := imageTriggers(&bc)
		for _, ref := range []*corev1.ObjectReference{strategyFrom(bc.Spec.Strategy), bc.Spec.Output.To} {
			if ref != nil {
				r := *ref
				r.Namespace = cmp.Or(r.Namespace, bc.Namespace)
				refs = append(refs, r)
			}
		}
		if slices.ContainsFunc(refs, func(r corev1.ObjectReference) bool { return streamKey(r) == stream }) {
			keys = append(keys, client.ObjectKeyFromObject(&bc))
		}
	}
	return keys
}

// Reconcile fires a configuration's triggers and moves its builds on.
func (c *Controller) Reconcile(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
	bc := &buildv1.BuildConfig{}
	err := c.Client.Get(ctx, key, bc)
	switch {
	case apierrors.IsNotFound(err):
		bc = nil
	case err != nil:
		return loop.Result{}, err
	case bc.DeletionTimestamp == nil:
		if err := c.fire(ctx, bc); err != nil {
			return loop.Result{}, err
		}
	}
	builds, err := c.builds(ctx, key)
	if err != nil {
		return loop.Result{}, err
	}
	return c.carryOut(ctx, Decide(bc, builds))
}

func (c *Controller) fire(ctx context.Context, bc *buildv1.BuildConfig) error {
	var images []string
	for _, ref := range imageTriggers(bc) {
		image, err := c.image(ctx, bc.Namespace, ref)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	req, ok := Fire(bc, images)
	if !ok {
		return nil
	}
	_, err := c.Instantiate(ctx, client.ObjectKeyFromObject(bc), req)
	return err
}

func (c *Controller) builds(ctx context.Context, key types.NamespacedName) ([]*buildv1.Build, error) {
	var list buildv1.BuildList
	err := c.Client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(labels.Set{buildv1.BuildConfigLabel: key.Name})})
	if err != nil {
		return nil, fmt.Errorf("read the builds of %s: %w", key, err)
	}
	out := make([]*buildv1.Build, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func (c *Controller) carryOut(ctx context.Context, d Decision) (loop.Result, error) {
	for _, b := range d.Cancel {
		now := metav1.NewTime(c.Now())
		b.Status.Phase, b.Status.Reason, b.Status.Cancelled = buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, true
		b.Status.Message, b.Status.CompletionTimestamp = "cancelled before it ran", &now
		if err := c.Client.Status().Update(ctx, b); err != nil {
			return loop.Result{}, err
		}
		c.Events.Event(b, corev1.EventTypeNormal, "BuildCancelled", "cancelled before it ran")
	}
	for _, b := range d.Prune {
		if err := c.Client.Delete(ctx, b); client.IgnoreNotFound(err) != nil {
			return loop.Result{}, err
		}
	}
	var res loop.Result
	for _, b := range d.Start {
		started, err := c.start(ctx, b)
		if err != nil {
			return res, err
		}
		if !started {
			res.After = 5 * time.Second
		}
	}
	return res, nil
}

// start binds a build to a node. A build that lacks an input, a place for its output or
// a node stays New and says why.
func (c *Controller) start(ctx context.Context, b *buildv1.Build) (bool, error) {
	if err := c.resolve(ctx, b); err != nil {
		return false, err
	}
	if missing := unresolved(b); missing != "" {
		return false, c.hold(ctx, b, buildv1.StatusReasonInvalidImageReference, missing+" names no image yet")
	}
	output, err := c.output(ctx, b)
	if err != nil {
		return false, err
	}
	if output == "" && b.Spec.Output.To != nil {
		return false, c.hold(ctx, b, buildv1.StatusReasonInvalidOutputReference, "image stream of output "+b.Spec.Output.To.Name+" does not exist yet")
	}
	node, err := c.node(ctx, b)
	if err != nil {
		return false, err
	}
	if node == "" {
		return false, c.hold(ctx, b, "NoNode", "no ready node can take the build")
	}
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	b.Annotations[NodeAnnotation] = node
	status := b.Status
	if err := c.Client.Update(ctx, b); err != nil {
		return false, err
	}
	b.Status = status
	b.Status.Phase, b.Status.Reason, b.Status.Message = buildv1.BuildPhasePending, "", ""
	b.Status.OutputDockerImageReference = output
	return true, c.Client.Status().Update(ctx, b)
}

func (c *Controller) hold(ctx context.Context, b *buildv1.Build, reason buildv1.StatusReason, message string) error {
	if b.Status.Reason == reason && b.Status.Message == message {
		return nil
	}
	b.Status.Phase, b.Status.Reason, b.Status.Message = buildv1.BuildPhaseNew, reason, message
	return c.Client.Status().Update(ctx, b)
}

// output is where the image is pushed to: `registry/project/stream:tag`.
func (c *Controller) output(ctx context.Context, b *buildv1.Build) (string, error) {
	to := b.Spec.Output.To
	if to == nil || to.Kind == "DockerImage" {
		if to == nil {
			return "", nil
		}
		return to.Name, nil
	}
	ref := *to
	ref.Namespace = cmp.Or(ref.Namespace, b.Namespace)
	var stream imagev1.ImageStream
	ns, name, tag := splitTag(ref)
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, &stream)
	if apierrors.IsNotFound(err) || (err == nil && stream.Status.DockerImageRepository == "") {
		return "", nil
	}
	return stream.Status.DockerImageRepository + ":" + tag, err
}
