package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// given are service accounts that every project has without declaring them.
var given = []string{"", "default", "builder", "deployer"}

// references finds references to what the repository does not declare. It may be declared
// by another repository: they are resolved against live state.
func (l *linter) references() {
	o := l.object
	project := o.GetNamespace()
	switch o.GetKind() {
	case "DeploymentConfig", "BuildConfig", "ImageStream":
		eachReference(o.Object["spec"], "spec", func(at string, ref map[string]any) {
			in := project
			if ns, _ := ref["namespace"].(string); ns != "" {
				in = ns
			}
			name, _ := ref["name"].(string)
			stream, _, ok := strings.Cut(strings.Replace(name, "@", ":", 1), ":")
			if ok && (o.GetKind() != "ImageStream" || stream != "") {
				l.refer("ImageStream", in, stream, at+".name")
			}
		})
	case "Route":
		l.route(project)
	case "Service":
		l.selects(project)
	}
	spec, at := podSpec(o)
	if spec == nil {
		return
	}
	if name, _ := spec["serviceAccountName"].(string); !slices.Contains(given, name) {
		l.refer("ServiceAccount", project, name, at+".serviceAccountName")
	}
	volumes, _ := spec["volumes"].([]any)
	for i, v := range volumes {
		m, _ := v.(map[string]any)
		in := fmt.Sprintf("%s.volumes[%d]", at, i)
		l.named(m, "secret", "secretName", "Secret", in)
		l.named(m, "configMap", "name", "ConfigMap", in)
	}
	eachContainer(spec, at, func(c map[string]any, at string) {
		env, _ := c["env"].([]any)
		for i, e := range env {
			m, _ := e.(map[string]any)
			from, _ := m["valueFrom"].(map[string]any)
			in := fmt.Sprintf("%s.env[%d].valueFrom", at, i)
			l.named(from, "secretKeyRef", "name", "Secret", in)
			l.named(from, "configMapKeyRef", "name", "ConfigMap", in)
		}
		all, _ := c["envFrom"].([]any)
		for i, e := range all {
			m, _ := e.(map[string]any)
			in := fmt.Sprintf("%s.envFrom[%d]", at, i)
			l.named(m, "secretRef", "name", "Secret", in)
			l.named(m, "configMapRef", "name", "ConfigMap", in)
		}
	})
}

// named follows a reference that is an object with a name, unless it says that it is optional.
func (l *linter) named(in map[string]any, field, key, kind, at string) {
	ref, ok := in[field].(map[string]any)
	if !ok || ref["optional"] == true {
		return
	}
	if name, _ := ref[key].(string); name != "" {
		l.refer(kind, l.object.GetNamespace(), name, at+"."+field+"."+key)
	}
}

func (l *linter) refer(kind, project, name, at string) {
	if l.index.has(kind, project, name) {
		return
	}
	where := ""
	if project != l.object.GetNamespace() {
		where = " of project " + project
	}
	l.warn(RuleReference, at, "%s %s%s is not in this repository%s", kind, name, where, l.index.closest(kind, project, name))
}

func (l *linter) route(project string) {
	if name, _, _ := unstructured.NestedString(l.object.Object, "spec", "to", "name"); name != "" {
		l.refer("Service", project, name, "spec.to.name")
	}
	others, _, _ := unstructured.NestedSlice(l.object.Object, "spec", "alternateBackends")
	for i, b := range others {
		m, _ := b.(map[string]any)
		if name, _ := m["name"].(string); name != "" {
			l.refer("Service", project, name, fmt.Sprintf("spec.alternateBackends[%d].name", i))
		}
	}
}

// podNameLabel tells the pods of a StatefulSet apart: a Service may select one of them.
const podNameLabel = "statefulset.kubernetes.io/pod-name"

// selects finds a Service that selects no pods.
func (l *linter) selects(project string) {
	selector, _, _ := unstructured.NestedStringMap(l.object.Object, "spec", "selector")
	if len(selector) == 0 {
		return
	}
	for key, o := range l.index {
		path, ok := podPath[key[0]]
		if !ok || key[1] != project {
			continue
		}
		at := append(slices.Clone(path[:len(path)-1]), "metadata", "labels")
		labels, _, _ := unstructured.NestedStringMap(o.Object, at...)
		if key[0] == "DeploymentConfig" {
			// What the rollout adds.
			labels = maps.Clone(labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels["deploymentconfig"] = key[2]
		}
		if name := selector[podNameLabel]; key[0] == "StatefulSet" && strings.HasPrefix(name, key[2]+"-") {
			labels = maps.Clone(labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels[podNameLabel] = name
		}
		if matches(selector, labels) {
			return
		}
	}
	l.warn(RuleReference, "spec.selector", "selects no pods of this repository")
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// eachReference visits every reference to an image stream's tag or image within a value.
func eachReference(v any, at string, visit func(at string, ref map[string]any)) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			eachReference(v[i], fmt.Sprintf("%s[%d]", at, i), visit)
		}
	case map[string]any:
		if v["kind"] == "ImageStreamTag" || v["kind"] == "ImageStreamImage" {
			visit(at, v)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			eachReference(v[k], at+"."+k, visit)
		}
	}
}
