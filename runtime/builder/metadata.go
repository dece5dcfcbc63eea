package builder

import (
	"fmt"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api"
)

// environment is what every image built from a build carries: where it comes from,
// then the strategy's own variables. Source: OpenShift 3.11, pkg/build/builder/common.go.
func environment(build *buildv1.Build, rev api.Revision, strategy []corev1.EnvVar) []corev1.EnvVar {
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
	for _, e := range strategy {
		if e.ValueFrom == nil {
			env = append(env, e)
		}
	}
	return env
}

// labels is what every image built from a build is labelled with; the configuration's
// own image labels win.
func imageLabels(build *buildv1.Build, rev api.Revision) map[string]string {
	l := map[string]string{}
	if g := build.Spec.Source.Git; g != nil {
		l["io.openshift.build.source-location"] = g.URI
		l["io.openshift.build.commit.id"] = rev.Commit
		l["io.openshift.build.commit.ref"] = g.Ref
		l["io.openshift.build.commit.author"] = rev.Author
		l["io.openshift.build.commit.message"] = firstLine(rev.Message)
		l["io.openshift.build.commit.date"] = rev.When.Format(time.RFC1123Z)
		if dir := build.Spec.Source.ContextDir; dir != "" {
			l["io.openshift.build.source-context-dir"] = dir
		}
	}
	l["io.openshift.build.name"] = build.Name
	l["io.openshift.build.namespace"] = build.Namespace
	for _, x := range build.Spec.Output.ImageLabels {
		l[x.Name] = x.Value
	}
	for k, v := range l {
		if v == "" {
			delete(l, k)
		}
	}
	return l
}

func pairs(env []corev1.EnvVar) []string {
	out := make([]string, len(env))
	for i, e := range env {
		out[i] = fmt.Sprintf("%s=%s", e.Name, e.Value)
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
