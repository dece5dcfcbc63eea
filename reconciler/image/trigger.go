package image

import (
	"context"
	"slices"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// triggerSource is the stream and the tag that an image trigger names.
func triggerSource(dc *appsv1.DeploymentConfig, p *appsv1.DeploymentTriggerImageChangeParams) api.StreamTag {
	t := api.StreamTag{Namespace: p.From.Namespace}
	if t.Namespace == "" {
		t.Namespace = dc.Namespace
	}
	stream, tag, err := api.ParseImageStreamTag(p.From.Name)
	if err != nil {
		return api.StreamTag{}
	}
	t.Stream, t.Tag = stream, tag
	return t
}

// automaticTriggers lists the image triggers that follow their tag by themselves.
func automaticTriggers(dc *appsv1.DeploymentConfig) []*appsv1.DeploymentTriggerImageChangeParams {
	var found []*appsv1.DeploymentTriggerImageChangeParams
	for i := range dc.Spec.Triggers {
		t := &dc.Spec.Triggers[i]
		if p := t.ImageChangeParams; t.Type == appsv1.DeploymentTriggerOnImageChange && p != nil && p.Automatic && p.From.Kind == "ImageStreamTag" {
			found = append(found, p)
		}
	}
	return found
}

// React writes what image triggers name into a config: lastTriggeredImage and the
// images of the containers. resolve answers the reference to pull. One trigger that
// names nothing yet, and never did, holds everything back; so a config never starts
// with some of its images. It says whether anything changed.
func React(dc *appsv1.DeploymentConfig, resolve func(api.StreamTag) (string, bool)) bool {
	type found struct {
		trigger   *appsv1.DeploymentTriggerImageChangeParams
		reference string
	}
	var all []found
	for _, p := range automaticTriggers(dc) {
		ref, ok := resolve(triggerSource(dc, p))
		if !ok || ref == "" {
			if p.LastTriggeredImage == "" {
				return false
			}
			continue
		}
		all = append(all, found{p, ref})
	}
	changed := false
	for _, f := range all {
		if f.trigger.LastTriggeredImage != f.reference {
			f.trigger.LastTriggeredImage, changed = f.reference, true
		}
		if dc.Spec.Template == nil {
			continue
		}
		for _, list := range [][]corev1.Container{dc.Spec.Template.Spec.InitContainers, dc.Spec.Template.Spec.Containers} {
			for i := range list {
				if slices.Contains(f.trigger.ContainerNames, list[i].Name) && list[i].Image != f.reference {
					list[i].Image, changed = f.reference, true
				}
			}
		}
	}
	return changed
}

type triggers struct {
	Deps
	refs references
}

func (c *triggers) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var dc appsv1.DeploymentConfig
	if err := c.Client.Get(ctx, key, &dc); err != nil {
		if apierrors.IsNotFound(err) {
			c.refs.note(key)
		}
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if dc.DeletionTimestamp != nil {
		return loop.Result{}, nil
	}
	var targets []loop.Key
	for _, p := range automaticTriggers(&dc) {
		if t := triggerSource(&dc, p); t.Stream != "" {
			targets = append(targets, loop.Key{Namespace: t.Namespace, Name: t.Stream})
		}
	}
	c.refs.note(key, targets...)
	streams := map[loop.Key]*imagev1.ImageStream{}
	for _, t := range targets {
		var s imagev1.ImageStream
		if err := c.Client.Get(ctx, t, &s); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return loop.Result{}, err
		}
		streams[t] = &s
	}
	changed := React(&dc, func(t api.StreamTag) (string, bool) {
		s := streams[loop.Key{Namespace: t.Namespace, Name: t.Stream}]
		if s == nil {
			return "", false
		}
		ref, _, ok := api.Resolve(s, t.Tag)
		return ref, ok
	})
	if !changed {
		return loop.Result{}, nil
	}
	return loop.Result{}, client.IgnoreNotFound(c.Client.Update(ctx, &dc))
}
