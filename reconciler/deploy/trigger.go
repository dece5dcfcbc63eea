package deploy

import (
	"slices"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"slipway.dev/slipway/api"
)

// trigger says whether a config asks for a new version, and why; wait means that its
// first rollout has to wait for images. latest is the version status.latestVersion
// names, nil while it does not exist.
func trigger(dc *appsv1.DeploymentConfig, latest *corev1.ReplicationController) (details *appsv1.DeploymentDetails, wait bool) {
	onConfig := slices.ContainsFunc(dc.Spec.Triggers, func(t appsv1.DeploymentTriggerPolicy) bool {
		return t.Type == appsv1.DeploymentTriggerOnConfigChange
	})
	images := imageTriggers(dc)
	if dc.Status.LatestVersion == 0 {
		for _, t := range images {
			if api.AwaitsImage(dc, t) {
				return nil, true
			}
		}
		if len(images) > 0 || onConfig {
			return configCause(), false
		}
		return nil, false
	}
	if latest == nil {
		return nil, false
	}
	if changed := changedImages(dc, latest); len(images) > 0 && len(changed) > 0 {
		return imageCause(images, changed), false
	}
	if onConfig && !sameTemplate(dc, latest) {
		return configCause(), false
	}
	return nil, false
}

func imageTriggers(dc *appsv1.DeploymentConfig) []*appsv1.DeploymentTriggerImageChangeParams {
	var found []*appsv1.DeploymentTriggerImageChangeParams
	for i := range dc.Spec.Triggers {
		if t := &dc.Spec.Triggers[i]; t.Type == appsv1.DeploymentTriggerOnImageChange && t.ImageChangeParams != nil {
			found = append(found, t.ImageChangeParams)
		}
	}
	return found
}

// changedImages lists images of the config's containers that the version does not run.
func changedImages(dc *appsv1.DeploymentConfig, rc *corev1.ReplicationController) []string {
	if dc.Spec.Template == nil || rc.Spec.Template == nil {
		return nil
	}
	running := map[string]bool{}
	for _, c := range containersOf(&rc.Spec.Template.Spec) {
		running[strings.TrimSpace(c.Image)] = true
	}
	var changed []string
	for _, c := range containersOf(&dc.Spec.Template.Spec) {
		if !running[strings.TrimSpace(c.Image)] {
			changed = append(changed, c.Image)
		}
	}
	return changed
}

func containersOf(spec *corev1.PodSpec) []corev1.Container {
	return slices.Concat(spec.InitContainers, spec.Containers)
}

// sameTemplate compares with the config that the version was made from, not with the
// version's own template: what was changed there is no reason for a rollout. An
// encoded config that cannot be read compares as different: a rollout makes a new one.
func sameTemplate(dc *appsv1.DeploymentConfig, rc *corev1.ReplicationController) bool {
	made, err := encodedConfig(rc)
	return err == nil && equality.Semantic.DeepEqual(dc.Spec.Template, made.Spec.Template)
}

func configCause() *appsv1.DeploymentDetails {
	return &appsv1.DeploymentDetails{
		Message: "config change",
		Causes:  []appsv1.DeploymentCause{{Type: appsv1.DeploymentTriggerOnConfigChange}},
	}
}

func imageCause(triggers []*appsv1.DeploymentTriggerImageChangeParams, changed []string) *appsv1.DeploymentDetails {
	details := &appsv1.DeploymentDetails{Message: "image change"}
	for _, t := range triggers {
		if slices.Contains(changed, t.LastTriggeredImage) {
			details.Causes = append(details.Causes, appsv1.DeploymentCause{
				Type:         appsv1.DeploymentTriggerOnImageChange,
				ImageTrigger: &appsv1.DeploymentCauseImageTrigger{From: t.From},
			})
		}
	}
	if len(details.Causes) == 0 {
		return configCause()
	}
	return details
}
