package lint

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// outOfDate finds fields that have a successor, and fields that are the server's to write.
func (l *linter) outOfDate() {
	if spec, at := podSpec(l.object); spec["serviceAccount"] != nil {
		l.warn(RuleDeprecated, at+".serviceAccount", "is out of date: use serviceAccountName")
	}
	switch o := l.object; o.GetKind() {
	case "ImageStream":
		if repo, ok, _ := unstructured.NestedString(o.Object, "spec", "dockerImageRepository"); ok && repo != "" {
			l.warn(RuleDeprecated, "spec.dockerImageRepository", "is out of date: list the tags in spec.tags")
		}
	case "DeploymentConfig":
		l.triggers("imageChangeParams", "lastTriggeredImage")
	case "BuildConfig":
		l.triggers("imageChange", "lastTriggeredImageID")
	case "Service":
		if ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP"); ip != "" && ip != "None" {
			l.warn(RuleDeprecated, "spec.clusterIP", "is the server's to allocate: leave it out")
		}
	}
}

// triggers finds what an export has of triggers that have fired.
func (l *linter) triggers(params, field string) {
	triggers, _, _ := unstructured.NestedSlice(l.object.Object, "spec", "triggers")
	for i, t := range triggers {
		m, _ := t.(map[string]any)
		if last, _, _ := unstructured.NestedString(m, params, field); last != "" {
			l.warn(RuleDeprecated, fmt.Sprintf("spec.triggers[%d].%s.%s", i, params, field), "is the server's to write: leave it out")
		}
	}
}
