package builder

import (
	"maps"
	"slices"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// Labels of the images that a build makes, by which they are found again.
const (
	// labelBuild is on the finished image: `project/build`.
	labelBuild = "slipway.dev/build"
	// labelConfig is on the image of every stage: `project/configuration`.
	labelConfig = "slipway.dev/build-config"
)

// gitDate is git's own way to write a time.
const gitDate = "Mon Jan 2 15:04:05 2006 -0700"

// buildEnv is what every image built from a build says about where it comes from.
// Source: OpenShift 3.11, pkg/build/builder/common.go.
func buildEnv(build *buildv1.Build, rev api.Revision) []corev1.EnvVar {
	env := []corev1.EnvVar{
		{Name: "OPENSHIFT_BUILD_NAME", Value: build.Name},
		{Name: "OPENSHIFT_BUILD_NAMESPACE", Value: build.Namespace},
	}
	if g := build.Spec.Source.Git; g != nil {
		env = append(env, corev1.EnvVar{Name: "OPENSHIFT_BUILD_SOURCE", Value: g.URI})
		if g.Ref != "" {
			env = append(env, corev1.EnvVar{Name: "OPENSHIFT_BUILD_REFERENCE", Value: g.Ref})
		}
		env = append(env, corev1.EnvVar{Name: "OPENSHIFT_BUILD_COMMIT", Value: rev.Commit})
	}
	return env
}

// imageLabels is what every image built from a build is labelled with; the configuration's
// own image labels win, except over those that Slipway finds its images by.
func imageLabels(build *buildv1.Build, rev api.Revision) map[string]string {
	l := map[string]string{
		"io.openshift.build.name":      build.Name,
		"io.openshift.build.namespace": build.Namespace,
	}
	if g := build.Spec.Source.Git; g != nil {
		l["io.openshift.build.source-location"] = g.URI
		l["io.openshift.build.source-context-dir"] = build.Spec.Source.ContextDir
		l["io.openshift.build.commit.id"] = rev.Commit
		l["io.openshift.build.commit.ref"] = g.Ref
		l["io.openshift.build.commit.author"] = rev.Author
		l["io.openshift.build.commit.message"] = firstLine(rev.Message)
		l["io.openshift.build.commit.date"] = rev.When.Format(gitDate)
	}
	maps.DeleteFunc(l, func(_, v string) bool { return v == "" })
	for _, x := range build.Spec.Output.ImageLabels {
		l[x.Name] = x.Value
	}
	return marked(build, l)
}

// marked adds the labels by which a build's images are found.
func marked(build *buildv1.Build, labels map[string]string) map[string]string {
	labels[labelBuild] = build.Namespace + "/" + build.Name
	labels[labelConfig] = build.Namespace + "/" + configOf(build.Name)
	return labels
}

// configOf is the name of the configuration that a build of this name is made from.
func configOf(build string) string {
	if i := strings.LastIndex(build, "-"); i > 0 {
		return build[:i]
	}
	return build
}

// pairs writes variables as NAME=value; of two of one name the later counts.
func pairs(env []corev1.EnvVar) []string {
	var out []string
	for i, e := range env {
		if !slices.ContainsFunc(env[i+1:], func(later corev1.EnvVar) bool { return later.Name == e.Name }) {
			out = append(out, e.Name+"="+e.Value)
		}
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}
