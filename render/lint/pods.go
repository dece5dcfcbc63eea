package lint

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"slipway.dev/slipway/api"
)

// podPath is where a kind has its pods' spec.
var podPath = map[string][]string{
	"Pod":                   {"spec"},
	"DeploymentConfig":      {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
	"Deployment":            {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
}

// podSpec is the object's pod spec and where it is; nil: it has none.
func podSpec(o api.DesiredObject) (spec map[string]any, at string) {
	path, ok := podPath[o.GetKind()]
	if !ok {
		return nil, ""
	}
	spec, _, _ = unstructured.NestedMap(o.Object, path...)
	return spec, strings.Join(path, ".")
}

// eachContainer visits the containers of a pod spec, with their place.
func eachContainer(spec map[string]any, at string, visit func(c map[string]any, at string)) {
	for _, list := range []string{"initContainers", "containers"} {
		all, _ := spec[list].([]any)
		for i, one := range all {
			if c, ok := one.(map[string]any); ok {
				visit(c, fmt.Sprintf("%s.%s[%d]", at, list, i))
			}
		}
	}
}

func (l *linter) pods() {
	spec, at := podSpec(l.object)
	if spec == nil {
		return
	}
	filled := triggered(l.object)
	limited := l.limited()
	eachContainer(spec, at, func(c map[string]any, at string) {
		name, _ := c["name"].(string)
		image, _ := c["image"].(string)
		if image = strings.TrimSpace(image); !slices.Contains(filled, name) && moves(image) {
			l.warn(RuleImage, at+".image", "image %s may be another one tomorrow: name a tag, better a digest, or follow an image stream", image)
		}
		if _, ok, _ := unstructured.NestedFieldNoCopy(c, "resources", "limits", "memory"); !ok && !limited {
			l.warn(RuleLimits, at+".resources.limits.memory", "there is no memory limit: one container may take the memory of all others on its node")
		}
	})
}

// moves tells whether an image is named by a tag that is meant to move.
func moves(image string) bool {
	if image == "" || strings.Contains(image, "@") {
		return false
	}
	_, tag, tagged := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return !tagged || tag == "latest"
}

// triggered are the containers whose images a DeploymentConfig's triggers fill in.
func triggered(o api.DesiredObject) []string {
	triggers, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	var out []string
	for _, t := range triggers {
		m, _ := t.(map[string]any)
		names, _, _ := unstructured.NestedStringSlice(m, "imageChangeParams", "containerNames")
		out = append(out, names...)
	}
	return out
}

// limited tells whether the project gives containers a memory limit by default.
func (l *linter) limited() bool {
	for key, o := range l.index {
		if key[0] != "LimitRange" || key[1] != l.object.GetNamespace() {
			continue
		}
		limits, _, _ := unstructured.NestedSlice(o.Object, "spec", "limits")
		for _, one := range limits {
			m, _ := one.(map[string]any)
			if _, ok, _ := unstructured.NestedFieldNoCopy(m, "default", "memory"); ok && m["type"] == "Container" {
				return true
			}
		}
	}
	return false
}
