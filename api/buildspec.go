package api

import (
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The largest inline files, in bytes.
const (
	maxDockerfile  = 60_000
	maxJenkinsfile = 100_000
)

// What BuildConfig and Build share.

func defaultCommonSpec(s *buildv1.CommonSpec) {
	switch st := &s.Strategy; {
	case st.DockerStrategy != nil:
		setDefault(&st.Type, buildv1.DockerBuildStrategyType)
	case st.SourceStrategy != nil:
		setDefault(&st.Type, buildv1.SourceBuildStrategyType)
	case st.CustomStrategy != nil:
		setDefault(&st.Type, buildv1.CustomBuildStrategyType)
	case st.JenkinsPipelineStrategy != nil:
		setDefault(&st.Type, buildv1.JenkinsPipelineBuildStrategyType)
	}
	if from := strategyFrom(&s.Strategy); from != nil {
		setDefault(&from.Kind, "ImageStreamTag")
	}
	if s.Output.To != nil {
		setDefault(&s.Output.To.Kind, "ImageStreamTag")
	}
	for i := range s.Source.Images {
		setDefault(&s.Source.Images[i].From.Kind, "ImageStreamTag")
	}
	switch src := &s.Source; {
	case src.Git != nil:
		setDefault(&src.Type, buildv1.BuildSourceGit)
	case src.Binary != nil:
		setDefault(&src.Type, buildv1.BuildSourceBinary)
	case src.Dockerfile != nil:
		setDefault(&src.Type, buildv1.BuildSourceDockerfile)
	case len(src.Images) > 0:
		setDefault(&src.Type, buildv1.BuildSourceImage)
	default:
		setDefault(&src.Type, buildv1.BuildSourceNone)
	}
}

func strategyFrom(s *buildv1.BuildStrategy) *corev1.ObjectReference {
	switch {
	case s.DockerStrategy != nil:
		return s.DockerStrategy.From
	case s.SourceStrategy != nil:
		return &s.SourceStrategy.From
	case s.CustomStrategy != nil:
		return &s.CustomStrategy.From
	}
	return nil
}

var imageKinds = []string{"ImageStreamTag", "ImageStreamImage", "DockerImage"}

func validateCommonSpec(s *buildv1.CommonSpec, p *field.Path) field.ErrorList {
	errs := validateBuildSource(s, p.Child("source"))
	errs = append(errs, validateBuildStrategy(&s.Strategy, p.Child("strategy"))...)
	if s.Output.To != nil {
		errs = append(errs, validateImageFrom(s.Output.To, p.Child("output", "to"), "ImageStreamTag", "DockerImage")...)
	}
	for i, l := range s.Output.ImageLabels {
		errs = append(errs, named(p.Child("output", "imageLabels").Index(i).Child("name"), l.Name, func(string) []string { return nil })...)
	}
	if pc := s.PostCommit; pc.Script != "" && len(pc.Command) > 0 {
		errs = append(errs, field.Invalid(p.Child("postCommit"), "", "cannot use command and script together"))
	}
	if d := s.CompletionDeadlineSeconds; d != nil {
		errs = append(errs, positive(p.Child("completionDeadlineSeconds"), *d)...)
	}
	return append(errs, validateResources(&s.Resources, p.Child("resources"))...)
}

func validateBuildStrategy(s *buildv1.BuildStrategy, p *field.Path) field.ErrorList {
	set := setFields(s)
	if len(set) != 1 {
		return field.ErrorList{field.Invalid(p, strings.Join(set, ", "), "must provide a value for exactly one of sourceStrategy, customStrategy, dockerStrategy, or jenkinsPipelineStrategy")}
	}
	at := p.Child(set[0])
	var errs field.ErrorList
	if from := strategyFrom(s); from != nil {
		errs = append(errs, validateImageFrom(from, at.Child("from"), imageKinds...)...)
	}
	switch {
	case s.DockerStrategy != nil:
		errs = append(errs, inTree(at.Child("dockerfilePath"), s.DockerStrategy.DockerfilePath)...)
		errs = append(errs, validateEnv(s.DockerStrategy.Env, at.Child("env"))...)
		errs = append(errs, validateEnv(s.DockerStrategy.BuildArgs, at.Child("buildArgs"))...)
	case s.SourceStrategy != nil:
		errs = append(errs, validateEnv(s.SourceStrategy.Env, at.Child("env"))...)
	case s.CustomStrategy != nil:
		errs = append(errs, validateEnv(s.CustomStrategy.Env, at.Child("env"))...)
		if s.CustomStrategy.ExposeDockerSocket {
			errs = append(errs, field.Forbidden(at.Child("exposeDockerSocket"), "the Docker socket is never given to a build: it is root on the host"))
		}
	case s.JenkinsPipelineStrategy != nil:
		j := s.JenkinsPipelineStrategy
		if len(j.Jenkinsfile) > maxJenkinsfile {
			errs = append(errs, field.TooLong(at.Child("jenkinsfile"), "", maxJenkinsfile))
		}
		if j.Jenkinsfile != "" && j.JenkinsfilePath != "" {
			errs = append(errs, field.Invalid(at, "", "must provide only one of jenkinsfile and jenkinsfilePath"))
		}
		errs = append(errs, inTree(at.Child("jenkinsfilePath"), j.JenkinsfilePath)...)
	}
	return errs
}

func validateBuildSource(s *buildv1.CommonSpec, p *field.Path) field.ErrorList {
	src := &s.Source
	var errs field.ErrorList
	if src.Git != nil && src.Binary != nil && s.Strategy.CustomStrategy == nil {
		errs = append(errs, field.Invalid(p, "", "may not set both git and binary"))
	}
	if src.Git != nil {
		errs = append(errs, gitURL(p.Child("git", "uri"), src.Git.URI)...)
		errs = append(errs, gitRef(p.Child("git", "ref"), src.Git.Ref)...)
	}
	if src.Dockerfile != nil && len(*src.Dockerfile) > maxDockerfile {
		errs = append(errs, field.TooLong(p.Child("dockerfile"), "", maxDockerfile))
	}
	if src.Binary != nil {
		errs = append(errs, inTree(p.Child("binary", "asFile"), src.Binary.AsFile)...)
	}
	errs = append(errs, inTree(p.Child("contextDir"), strings.TrimPrefix(src.ContextDir, "/"))...)
	for i := range src.Images {
		errs = append(errs, validateImageSource(&src.Images[i], p.Child("images").Index(i))...)
	}
	for i, sec := range src.Secrets {
		at := p.Child("secrets").Index(i)
		errs = append(errs, named(at.Child("secret", "name"), sec.Secret.Name, validation.IsDNS1123Subdomain)...)
		errs = append(errs, destination(sec.DestinationDir, s, at.Child("destinationDir"))...)
	}
	for i, cm := range src.ConfigMaps {
		at := p.Child("configMaps").Index(i)
		errs = append(errs, named(at.Child("configMap", "name"), cm.ConfigMap.Name, validation.IsDNS1123Subdomain)...)
		errs = append(errs, destination(cm.DestinationDir, s, at.Child("destinationDir"))...)
	}
	return errs
}

// destination of secrets: relative to the context. S2I alone may place them anywhere in
// the image that it builds in.
func destination(dir string, s *buildv1.CommonSpec, p *field.Path) field.ErrorList {
	if s.Strategy.SourceStrategy != nil {
		dir = strings.TrimPrefix(dir, "/")
	}
	return inTree(p, dir)
}

func validateImageSource(i *buildv1.ImageSource, p *field.Path) field.ErrorList {
	errs := validateImageFrom(&i.From, p.Child("from"), imageKinds...)
	if len(i.Paths) == 0 && len(i.As) == 0 {
		errs = append(errs, field.Required(p.Child("paths"), "or as"))
	}
	for j, path := range i.Paths {
		at := p.Child("paths").Index(j)
		errs = append(errs, absoluteSource(path.SourcePath, at.Child("sourcePath"))...)
		errs = append(errs, named(at.Child("destinationDir"), path.DestinationDir, func(string) []string { return nil })...)
		errs = append(errs, inTree(at.Child("destinationDir"), path.DestinationDir)...)
	}
	if k := slices.Index(i.As, ""); k >= 0 {
		errs = append(errs, field.Required(p.Child("as").Index(k), ""))
	}
	return errs
}

// absoluteSource is a path in an image; `/.` at its end means the content of the folder.
func absoluteSource(value string, p *field.Path) field.ErrorList {
	switch {
	case value == "":
		return field.ErrorList{field.Required(p, "")}
	case !strings.HasPrefix(value, "/"):
		return field.ErrorList{field.Invalid(p, value, "must be an absolute path")}
	}
	return inTree(p, strings.TrimLeft(value, "/"))
}
