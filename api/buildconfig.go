package api

import (
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultBuildConfig(bc *buildv1.BuildConfig) {
	s := &bc.Spec
	setDefault(&s.RunPolicy, buildv1.BuildRunPolicySerial)
	setPointer(&s.SuccessfulBuildsHistoryLimit, 5)
	setPointer(&s.FailedBuildsHistoryLimit, 5)
	for i := range s.Triggers {
		t := &s.Triggers[i]
		switch t.Type {
		case buildv1.GitHubWebHookBuildTriggerTypeDeprecated:
			t.Type = buildv1.GitHubWebHookBuildTriggerType
		case buildv1.GenericWebHookBuildTriggerTypeDeprecated:
			t.Type = buildv1.GenericWebHookBuildTriggerType
		case buildv1.ImageChangeBuildTriggerTypeDeprecated:
			t.Type = buildv1.ImageChangeBuildTriggerType
		}
		if t.Type == buildv1.ImageChangeBuildTriggerType {
			setPointer(&t.ImageChange, buildv1.ImageChangeTrigger{})
			if t.ImageChange.From != nil {
				setDefault(&t.ImageChange.From.Kind, "ImageStreamTag")
			}
		}
	}
	defaultCommonSpec(&s.CommonSpec)
}

func validateBuildConfig(bc *buildv1.BuildConfig) field.ErrorList {
	s, p := &bc.Spec, field.NewPath("spec")
	errs := oneOf(p.Child("runPolicy"), s.RunPolicy, buildv1.BuildRunPolicySerial, buildv1.BuildRunPolicyParallel, buildv1.BuildRunPolicySerialLatestOnly)
	for name, l := range map[string]*int32{"successfulBuildsHistoryLimit": s.SuccessfulBuildsHistoryLimit, "failedBuildsHistoryLimit": s.FailedBuildsHistoryLimit} {
		if l != nil {
			errs = append(errs, nonNegative(p.Child(name), *l)...)
		}
	}
	tags := sets.New[corev1.ObjectReference]()
	for i := range s.Triggers {
		at := p.Child("triggers").Index(i)
		errs = append(errs, validateBuildTrigger(&s.Triggers[i], at)...)
		if s.Triggers[i].Type != buildv1.ImageChangeBuildTriggerType {
			continue
		}
		from := triggerFrom(bc, s.Triggers[i].ImageChange)
		switch {
		case from == nil || from.Kind != "ImageStreamTag":
			errs = append(errs, field.Invalid(at.Child("imageChange"), "", "the strategy's image must be an ImageStreamTag where no `from` is given"))
		case tags.Has(*from):
			errs = append(errs, field.Duplicate(at.Child("imageChange", "from"), from.Name))
		default:
			tags.Insert(*from)
		}
	}
	return append(errs, validateCommonSpec(&s.CommonSpec, p)...)
}

// triggerFrom is the tag that an image trigger watches: its own, or the strategy's.
func triggerFrom(bc *buildv1.BuildConfig, t *buildv1.ImageChangeTrigger) *corev1.ObjectReference {
	var from *corev1.ObjectReference
	if t != nil && t.From != nil {
		from = t.From
	} else {
		from = strategyFrom(&bc.Spec.Strategy)
	}
	if from == nil {
		return nil
	}
	key := corev1.ObjectReference{Kind: from.Kind, Namespace: from.Namespace, Name: from.Name}
	setDefault(&key.Namespace, bc.Namespace)
	return &key
}

func validateBuildTrigger(t *buildv1.BuildTriggerPolicy, p *field.Path) field.ErrorList {
	hooks := []struct {
		kind buildv1.BuildTriggerType
		name string
		hook *buildv1.WebHookTrigger
	}{
		{buildv1.GitHubWebHookBuildTriggerType, "github", t.GitHubWebHook}, {buildv1.GenericWebHookBuildTriggerType, "generic", t.GenericWebHook},
		{buildv1.GitLabWebHookBuildTriggerType, "gitlab", t.GitLabWebHook}, {buildv1.BitbucketWebHookBuildTriggerType, "bitbucket", t.BitbucketWebHook},
	}
	for _, h := range hooks {
		if h.kind == t.Type {
			return validateWebHook(h.hook, h.kind == buildv1.GenericWebHookBuildTriggerType, p.Child(h.name))
		}
	}
	if t.Type == buildv1.ImageChangeBuildTriggerType {
		if t.ImageChange != nil && t.ImageChange.From != nil {
			return validateImageFrom(t.ImageChange.From, p.Child("imageChange", "from"), "ImageStreamTag")
		}
		return nil
	}
	return oneOf(p.Child("type"), t.Type, buildv1.ConfigChangeBuildTriggerType, buildv1.ImageChangeBuildTriggerType,
		buildv1.GitHubWebHookBuildTriggerType, buildv1.GitLabWebHookBuildTriggerType, buildv1.BitbucketWebHookBuildTriggerType, buildv1.GenericWebHookBuildTriggerType)
}

func validateWebHook(h *buildv1.WebHookTrigger, env bool, p *field.Path) field.ErrorList {
	if h == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	switch {
	case h.Secret == "" && h.SecretReference == nil:
		errs = append(errs, field.Required(p.Child("secretReference"), "a hook without a secret is never accepted"))
	case h.Secret != "" && h.SecretReference != nil:
		errs = append(errs, field.Invalid(p.Child("secret"), "redacted", "only one of secret and secretReference may be set"))
	case h.SecretReference != nil:
		errs = append(errs, named(p.Child("secretReference", "name"), h.SecretReference.Name, validation.IsDNS1123Subdomain)...)
	}
	if h.AllowEnv && !env {
		errs = append(errs, field.Invalid(p.Child("allowEnv"), true, "allowEnv is only for hooks of type Generic"))
	}
	return errs
}
