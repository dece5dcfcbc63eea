package api

import (
	"maps"
	"slices"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultDeploymentConfig(dc *appsv1.DeploymentConfig) {
	s := &dc.Spec
	// An empty list is a decision, a missing one is not.
	if s.Triggers == nil {
		s.Triggers = appsv1.DeploymentTriggerPolicies{{Type: appsv1.DeploymentTriggerOnConfigChange}}
	}
	for i := range s.Triggers {
		if p := s.Triggers[i].ImageChangeParams; p != nil {
			setDefault(&p.From.Kind, "ImageStreamTag")
		}
	}
	setPointer(&s.RevisionHistoryLimit, 10)
	defaultStrategy(&s.Strategy)
	if s.Template == nil {
		return
	}
	if len(s.Selector) == 0 {
		s.Selector = maps.Clone(s.Template.Labels)
	}
	defaultPodSpec(&s.Template.Spec)
	if c := s.Template.Spec.Containers; len(c) == 1 {
		for _, h := range hooks(&s.Strategy, field.NewPath("")) {
			defaultHook(h.hook, c[0].Name)
		}
	}
}

// defaultHook names the only container where a hook leaves open which one it means.
func defaultHook(h *appsv1.LifecycleHook, container string) {
	if h.ExecNewPod != nil {
		setDefault(&h.ExecNewPod.ContainerName, container)
	}
	for i := range h.TagImages {
		setDefault(&h.TagImages[i].ContainerName, container)
		setDefault(&h.TagImages[i].To.Kind, "ImageStreamTag")
	}
}

type hookAt struct {
	path *field.Path
	hook *appsv1.LifecycleHook
}

// hooks lists the hooks that are there.
func hooks(s *appsv1.DeploymentStrategy, p *field.Path) []hookAt {
	var all []hookAt
	if r := s.RollingParams; r != nil {
		all = append(all, hookAt{p.Child("rollingParams", "pre"), r.Pre}, hookAt{p.Child("rollingParams", "post"), r.Post})
	}
	if r := s.RecreateParams; r != nil {
		all = append(all, hookAt{p.Child("recreateParams", "pre"), r.Pre}, hookAt{p.Child("recreateParams", "mid"), r.Mid}, hookAt{p.Child("recreateParams", "post"), r.Post})
	}
	present := all[:0]
	for _, h := range all {
		if h.hook != nil {
			present = append(present, h)
		}
	}
	return present
}

// imagelessContainers are the ones that an image trigger fills in.
func imagelessContainers(triggers appsv1.DeploymentTriggerPolicies) map[string]bool {
	names := map[string]bool{}
	for _, t := range triggers {
		if t.Type == appsv1.DeploymentTriggerOnImageChange && t.ImageChangeParams != nil {
			for _, name := range t.ImageChangeParams.ContainerNames {
				names[name] = true
			}
		}
	}
	return names
}

// AwaitsImage says that a config's first rollout waits for an image trigger: no image has
// come by it yet. One that is not automatic is waited for only where git names no image for
// its containers; OpenShift would wait for `oc rollout latest`, which here is the commit.
func AwaitsImage(dc *appsv1.DeploymentConfig, t *appsv1.DeploymentTriggerImageChangeParams) bool {
	if t.LastTriggeredImage != "" || t.Automatic || dc.Spec.Template == nil {
		return t.LastTriggeredImage == ""
	}
	pod := dc.Spec.Template.Spec
	return slices.ContainsFunc(slices.Concat(pod.InitContainers, pod.Containers), func(c corev1.Container) bool {
		return slices.Contains(t.ContainerNames, c.Name) && strings.TrimSpace(c.Image) == ""
	})
}

// maxConfigName leaves room for a hyphen and a version of five digits where the name of a
// version is a label, which holds 63 characters.
const maxConfigName = 57

func validateDeploymentConfig(dc *appsv1.DeploymentConfig) field.ErrorList {
	s, p := &dc.Spec, field.NewPath("spec")
	errs := nonNegative(p.Child("replicas"), s.Replicas)
	if len(dc.Name) > maxConfigName {
		errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), dc.Name, maxConfigName))
	}
	errs = append(errs, nonNegative(p.Child("minReadySeconds"), s.MinReadySeconds)...)
	if l := s.RevisionHistoryLimit; l != nil {
		errs = append(errs, nonNegative(p.Child("revisionHistoryLimit"), *l)...)
	}
	errs = append(errs, validateReplicated(s.Template, s.Selector, imagelessContainers(s.Triggers), p)...)
	var pod corev1.PodSpec
	if s.Template != nil {
		pod = s.Template.Spec
	}
	errs = append(errs, validateTriggers(s.Triggers, &pod, p.Child("triggers"))...)
	errs = append(errs, validateStrategy(&s.Strategy, s.MinReadySeconds, p.Child("strategy"))...)
	for _, h := range hooks(&s.Strategy, p.Child("strategy")) {
		errs = append(errs, validateHook(h.hook, &pod, h.path)...)
	}
	return errs
}

func validateTriggers(triggers appsv1.DeploymentTriggerPolicies, pod *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range triggers {
		at := p.Index(i)
		errs = append(errs, oneOf(at.Child("type"), t.Type, appsv1.DeploymentTriggerOnConfigChange, appsv1.DeploymentTriggerOnImageChange)...)
		if t.Type != appsv1.DeploymentTriggerOnImageChange {
			continue
		}
		at = at.Child("imageChangeParams")
		if t.ImageChangeParams == nil {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		errs = append(errs, validateImageFrom(&t.ImageChangeParams.From, at.Child("from"), "ImageStreamTag")...)
		if len(t.ImageChangeParams.ContainerNames) == 0 {
			errs = append(errs, field.Required(at.Child("containerNames"), ""))
		}
		for j, name := range t.ImageChangeParams.ContainerNames {
			errs = append(errs, hasContainer(pod, name, at.Child("containerNames").Index(j))...)
		}
	}
	return errs
}

func hasContainer(pod *corev1.PodSpec, name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	for _, list := range [][]corev1.Container{pod.Containers, pod.InitContainers} {
		for _, c := range list {
			if c.Name == name {
				return nil
			}
		}
	}
	return field.ErrorList{field.Invalid(p, name, "names no container of the template")}
}

func validateHook(h *appsv1.LifecycleHook, pod *corev1.PodSpec, p *field.Path) field.ErrorList {
	errs := oneOf(p.Child("failurePolicy"), h.FailurePolicy, appsv1.LifecycleHookFailurePolicyAbort, appsv1.LifecycleHookFailurePolicyRetry, appsv1.LifecycleHookFailurePolicyIgnore)
	switch {
	case h.ExecNewPod != nil && len(h.TagImages) > 0:
		return append(errs, field.Invalid(p, "", "only one of 'execNewPod' or 'tagImages' may be specified"))
	case h.ExecNewPod == nil && len(h.TagImages) == 0:
		return append(errs, field.Required(p, "one of execNewPod or tagImages must be specified"))
	}
	if e := h.ExecNewPod; e != nil {
		at := p.Child("execNewPod")
		if len(e.Command) == 0 {
			errs = append(errs, field.Required(at.Child("command"), ""))
		}
		errs = append(errs, hasContainer(pod, e.ContainerName, at.Child("containerName"))...)
		errs = append(errs, validateEnv(e.Env, at.Child("env"))...)
		for i, v := range e.Volumes {
			if !hasVolume(pod, v) {
				errs = append(errs, field.Invalid(at.Child("volumes").Index(i), v, "names no volume of the template"))
			}
		}
	}
	for i := range h.TagImages {
		at := p.Child("tagImages").Index(i)
		errs = append(errs, hasContainer(pod, h.TagImages[i].ContainerName, at.Child("containerName"))...)
		errs = append(errs, validateImageFrom(&h.TagImages[i].To, at.Child("to"), "ImageStreamTag")...)
	}
	return errs
}

func hasVolume(pod *corev1.PodSpec, name string) bool {
	for _, v := range pod.Volumes {
		if v.Name == name {
			return true
		}
	}
	return false
}
