package deploy

import (
	"context"
	"fmt"
	"time"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/pods"
	"slipway.dev/slipway/state/loop"
)

// roll reads one rollout, asks Step, and carries the move out.
func (c configs) roll(ctx context.Context, dc *appsv1.DeploymentConfig, rcs []*corev1.ReplicationController, name string) (moved bool, after time.Duration, err error) {
	to := named(rcs, name)
	made, err := encodedConfig(to)
	if err != nil {
		return true, 0, c.phase(ctx, dc, to, fail("%v", err))
	}
	r, err := c.observe(ctx, made.Spec.Strategy, to, rcs)
	if err != nil {
		return false, 0, err
	}
	r.Watched = c.watched.look(to.UID, r.Now)
	m := Step(r)
	if m.waiting() {
		return false, pods.Sooner(m.After, glance), nil
	}
	if m.Phase != "" {
		c.watched.forget(r.Now)
	}
	return true, 0, c.carryMove(ctx, dc, r, m)
}

func (c configs) observe(ctx context.Context, strategy appsv1.DeploymentStrategy, to *corev1.ReplicationController, rcs []*corev1.ReplicationController) (Rollout, error) {
	r := Rollout{Strategy: strategy, To: to, Pods: map[string]pods.Count{}, Hooks: map[Moment]PodResult{}, Now: c.Clock()}
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(to.Namespace)); err != nil {
		return r, err
	}
	r.From = active(rcs)
	for _, rc := range rcs {
		if rc != to && rc != r.From {
			r.Others = append(r.Others, rc)
		}
		var own []*corev1.Pod
		for i := range list.Items {
			if ownedBy(&list.Items[i], rc) {
				own = append(own, &list.Items[i])
			}
		}
		r.Pods[rc.Name] = pods.CountOf(own, rc.Spec.MinReadySeconds, r.Now)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if p.Labels[appsv1.DeployerPodForDeploymentLabel] != to.Name {
			continue
		}
		result := PodResult{Phase: p.Status.Phase, Message: outcome(p)}
		if result.Phase == "" {
			result.Phase = corev1.PodPending
		}
		for _, at := range []Moment{Pre, Mid, Post} {
			if p.Name == HookPodName(to.Name, at) {
				r.Hooks[at] = result
			}
		}
		if p.Name == DeployerPodName(to.Name) {
			r.Deployer = result
		}
	}
	return r, nil
}

// outcome says in a pod's own words why it is over.
func outcome(p *corev1.Pod) string {
	if p.Status.Message != "" {
		return p.Status.Message
	}
	for _, s := range p.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil {
			if t.Message != "" {
				return t.Message
			}
			return fmt.Sprintf("pod %s: container %s exited with code %d", p.Name, s.Name, t.ExitCode)
		}
	}
	return "pod " + p.Name + ": " + string(p.Status.Phase)
}

func (c configs) carryMove(ctx context.Context, dc *appsv1.DeploymentConfig, r Rollout, m Move) error {
	to := r.To
	switch {
	case m.Phase != "":
		return c.phase(ctx, dc, to, m)
	case len(m.Scale) > 0:
		for _, s := range m.Scale {
			if err := c.scale(ctx, dc, named(append(r.old(), to), s.Name), s.To); err != nil {
				return err
			}
		}
		return nil
	case m.Over:
		err := c.hookOver(ctx, to, m.Moment)
		if err == nil && m.Ignored != "" {
			c.Events.Event(dc, corev1.EventTypeWarning, "Failed", "The %s hook of %s failed, which is ignored: %s", m.Moment, to.Name, m.Ignored)
		}
		return err
	case m.Deploy:
		pod, err := DeployerPod(to, r.Strategy)
		if err != nil {
			return c.phase(ctx, dc, to, fail("%v", err))
		}
		return c.start(ctx, dc, to, pod)
	case len(m.Hook.TagImages) > 0:
		err := c.tagImages(ctx, to, m.Hook.TagImages)
		if err == nil {
			return c.hookOver(ctx, to, m.Moment)
		}
		next := failedHook(m.Moment, m.Hook, err.Error())
		if next.Hook != nil || apierrors.IsConflict(err) {
			return err
		}
		return c.carryMove(ctx, dc, r, next)
	}
	pod, err := HookPod(to, r.Strategy, m.Moment, m.Hook, r.left())
	if err != nil {
		return c.phase(ctx, dc, to, fail("%v", err))
	}
	if m.Retry {
		if err := c.Client.Delete(ctx, pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return c.start(ctx, dc, to, pod)
}

// start makes a pod of a rollout. Its name is its identity: that it exists means that
// it was made before.
func (c configs) start(ctx context.Context, dc *appsv1.DeploymentConfig, to *corev1.ReplicationController, pod *corev1.Pod) error {
	err := c.Client.Create(ctx, pod)
	if apierrors.IsAlreadyExists(err) {
		var there corev1.Pod
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pod), &there); err != nil {
			return err
		}
		if there.Labels[appsv1.DeployerPodForDeploymentLabel] == to.Name && there.DeletionTimestamp == nil {
			return nil
		}
		return fmt.Errorf("pod %s/%s is in the way of a rollout's own", pod.Namespace, pod.Name)
	}
	if apierrors.IsInvalid(err) {
		return c.phase(ctx, dc, to, fail("%v", err))
	}
	if err == nil {
		c.Events.Event(dc, corev1.EventTypeNormal, "Started", "Created pod %s for %s", pod.Name, to.Name)
	}
	return err
}

func (c configs) hookOver(ctx context.Context, to *corev1.ReplicationController, at Moment) error {
	to.Annotations[at.annotation()] = c.Clock().UTC().Format(time.RFC3339Nano)
	return c.Client.Update(ctx, to)
}

// phase notes how far a rollout is. Before it ends, its own pods go: after a failure those
// that still run, after success also those that succeeded. Those that failed stay to be
// read, be it that nobody minded.
func (c configs) phase(ctx context.Context, dc *appsv1.DeploymentConfig, to *corev1.ReplicationController, m Move) error {
	if m.Phase == appsv1.DeploymentStatusComplete || m.Phase == appsv1.DeploymentStatusFailed {
		var list corev1.PodList
		if err := c.Client.List(ctx, &list, client.InNamespace(to.Namespace), client.MatchingLabels{appsv1.DeployerPodForDeploymentLabel: to.Name}); err != nil {
			return err
		}
		for i := range list.Items {
			if p := &list.Items[i]; !pods.Over(p) || m.Phase == appsv1.DeploymentStatusComplete && p.Status.Phase != corev1.PodFailed {
				if err := c.Client.Delete(ctx, p); client.IgnoreNotFound(err) != nil {
					return err
				}
			}
		}
	}
	to.Annotations[appsv1.DeploymentStatusAnnotation] = string(m.Phase)
	if m.Reason != "" {
		to.Annotations[appsv1.DeploymentStatusReasonAnnotation] = m.Reason
	}
	if m.Phase == appsv1.DeploymentStatusRunning {
		to.Annotations[annotationStarted] = c.Clock().UTC().Format(time.RFC3339Nano)
	}
	if err := c.Client.Update(ctx, to); err != nil {
		return err
	}
	switch m.Phase {
	case appsv1.DeploymentStatusFailed:
		c.Events.Event(dc, corev1.EventTypeWarning, "DeploymentFailed", "Rollout of %q failed: %s", to.Name, m.Reason)
	case appsv1.DeploymentStatusComplete:
		c.Events.Event(dc, corev1.EventTypeNormal, "DeploymentComplete", "Rollout of %q is complete", to.Name)
	}
	return nil
}

// tagImages points image stream tags at the images of containers.
func (c configs) tagImages(ctx context.Context, to *corev1.ReplicationController, tags []appsv1.TagImageHook) error {
	for _, t := range tags {
		image, found := "", false
		for _, container := range to.Spec.Template.Spec.Containers {
			if container.Name == t.ContainerName {
				image, found = container.Image, true
			}
		}
		if !found {
			return fmt.Errorf("tagImages: no container is named %q", t.ContainerName)
		}
		stream, tag := splitTag(t.To.Name)
		key := loop.Key{Namespace: t.To.Namespace, Name: stream}
		if key.Namespace == "" {
			key.Namespace = to.Namespace
		}
		if err := c.setTag(ctx, key, tag, image); err != nil {
			return err
		}
	}
	return nil
}

func (c configs) setTag(ctx context.Context, key loop.Key, tag, image string) error {
	want := imagev1.TagReference{Name: tag, From: &corev1.ObjectReference{Kind: "DockerImage", Name: image}}
	var is imagev1.ImageStream
	err := c.Client.Get(ctx, key, &is)
	if apierrors.IsNotFound(err) {
		is = imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		is.Spec.Tags = []imagev1.TagReference{want}
		return c.Client.Create(ctx, &is)
	}
	if err != nil {
		return err
	}
	for i := range is.Spec.Tags {
		if is.Spec.Tags[i].Name == tag {
			if f := is.Spec.Tags[i].From; f != nil && f.Kind == want.From.Kind && f.Name == image {
				return nil
			}
			is.Spec.Tags[i].From = want.From
			return c.Client.Update(ctx, &is)
		}
	}
	is.Spec.Tags = append(is.Spec.Tags, want)
	return c.Client.Update(ctx, &is)
}

func splitTag(name string) (stream, tag string) {
	for i := range name {
		if name[i] == ':' {
			return name[:i], name[i+1:]
		}
	}
	return name, imagev1.DefaultImageTag
}
