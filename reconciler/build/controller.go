package build

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// Events tells people what happened.
type Events interface {
	Event(o client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what the controller needs.
type Deps struct {
	Client client.WithWatch
	Events Events
	Log    *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Look is how soon a build that waits for something is looked at again, besides at
	// each change of what it waits for; default 5 s.
	Look time.Duration
}

// Controller follows BuildConfigs and their Builds.
type Controller struct {
	Deps
	// wake carries the configurations that a changed image stream concerns.
	wake chan loop.Key
}

// New makes a controller.
func New(d Deps) *Controller {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Look == 0 {
		d.Look = 5 * time.Second
	}
	return &Controller{Deps: d, wake: make(chan loop.Key)}
}

// Controllers are the loops that follow BuildConfigs and the image streams they use.
func (c *Controller) Controllers() []loop.Controller {
	return []loop.Controller{
		{
			Name:    "build",
			Workers: 2,
			Watches: []loop.Watch{
				{List: &buildv1.BuildConfigList{}},
				{List: &buildv1.BuildList{}, Keys: configKey},
			},
			Wake:      c.wake,
			Reconcile: c.Reconcile,
		},
		{Name: "build-streams", Watches: []loop.Watch{{List: &imagev1.ImageStreamList{}}}, Reconcile: c.reconcileStream},
		{
			Name: "build-nodes",
			Watches: []loop.Watch{{
				List: &corev1.NodeList{},
				Skip: func(t watch.EventType, _ client.Object) bool { return t != watch.Deleted },
			}},
			Reconcile: c.reconcileNode,
		},
	}
}

func configKey(o client.Object) []loop.Key {
	if name := configName(o); name != "" {
		return []loop.Key{{Namespace: o.GetNamespace(), Name: name}}
	}
	return nil
}

// Reconcile fires a configuration's triggers and moves its builds on.
func (c *Controller) Reconcile(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
	bc := &buildv1.BuildConfig{}
	err := c.Client.Get(ctx, key, bc)
	switch {
	case apierrors.IsNotFound(err):
		// Its builds go with it: the garbage collector sees to that.
		return loop.Result{}, nil
	case err != nil:
		return loop.Result{}, err
	case bc.DeletionTimestamp != nil:
		return loop.Result{}, nil
	}
	if _, err := c.next(ctx, key, Fire); err != nil {
		return loop.Result{}, err
	}
	builds, err := c.builds(ctx, key)
	if err != nil {
		return loop.Result{}, err
	}
	if err := c.endLost(ctx, builds); err != nil {
		return loop.Result{}, err
	}
	return c.carryOut(ctx, Decide(bc, builds))
}

func (c *Controller) builds(ctx context.Context, key types.NamespacedName) ([]*buildv1.Build, error) {
	var list buildv1.BuildList
	err := c.Client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(labels.Set{buildv1.BuildConfigLabel: labelValue(key.Name)})})
	if err != nil {
		return nil, fmt.Errorf("read the builds of %s: %w", key, err)
	}
	var out []*buildv1.Build
	for i := range list.Items {
		if configName(&list.Items[i]) == key.Name {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// endLost ends the builds whose node was taken out of the cluster: nobody else will.
func (c *Controller) endLost(ctx context.Context, builds []*buildv1.Build) error {
	if !anyActive(builds) {
		return nil
	}
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("read the nodes: %w", err)
	}
	names := sets.New[string]()
	for _, n := range nodes.Items {
		names.Insert(n.Name)
	}
	for _, b := range lost(builds, names) {
		now := metav1.NewTime(c.Now())
		s := &b.Status
		s.Phase, s.Reason, s.CompletionTimestamp = buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodDeleted, &now
		s.Message = fmt.Sprintf("node %s, which ran the build, is gone", b.Annotations[api.NodeAnnotation])
		if err := c.Client.Status().Update(ctx, b); err != nil {
			return err
		}
		c.Events.Event(b, corev1.EventTypeWarning, "BuildError", "%s", s.Message)
	}
	return nil
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
		switch {
		case err != nil:
			return res, err
		case !started:
			res.After = c.Look
		case policyOf(b) != buildv1.BuildRunPolicyParallel:
			return res, nil
		}
	}
	return res, nil
}

// start binds a build to a node. A build that lacks an input, a place for its output or
// a node stays New and says why.
func (c *Controller) start(ctx context.Context, b *buildv1.Build) (bool, error) {
	if err := c.resolve(ctx, b, nil); err != nil {
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
		return false, c.hold(ctx, b, reasonNoNode, "no ready node can take the build")
	}
	if b.Annotations == nil {
		b.Annotations = map[string]string{}
	}
	b.Annotations[api.NodeAnnotation] = node
	status := b.Status
	if err := c.Client.Update(ctx, b); err != nil {
		return false, err
	}
	b.Status = status
	b.Status.Phase, b.Status.Reason, b.Status.Message = buildv1.BuildPhasePending, "", ""
	b.Status.OutputDockerImageReference = output
	return true, c.Client.Status().Update(ctx, b)
}

// reasonNoNode is why a build that could run does not.
const reasonNoNode buildv1.StatusReason = "NoNode"

func (c *Controller) hold(ctx context.Context, b *buildv1.Build, reason buildv1.StatusReason, message string) error {
	if b.Status.Reason == reason && b.Status.Message == message {
		return nil
	}
	b.Status.Phase, b.Status.Reason, b.Status.Message = buildv1.BuildPhaseNew, reason, message
	return c.Client.Status().Update(ctx, b)
}
