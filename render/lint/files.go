package lint

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// File looks at the text of a YAML or JSON file: at what rendering takes away.
func File(file string, data []byte) []Finding {
	docs, problems := document.Parse(file, data)
	if len(problems) > 0 {
		return nil // The renderer says what is wrong with it.
	}
	l := &linter{}
	for _, d := range docs {
		u := &unstructured.Unstructured{Object: d.Object}
		l.object = api.DesiredObject{Unstructured: u, Origin: api.Origin{File: file, Line: d.Line, FieldLines: d.Lines}}
		l.version("apiVersion", u.GetAPIVersion(), u.GetKind())
		switch {
		case docs[0].Sealed != nil:
		case u.GetKind() == "Secret":
			l.plain(u.Object)
		case u.GetKind() == "Template":
			l.objects("objects", u.Object["objects"])
		case u.GetKind() == "TemplateInstance":
			objects, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "template", "objects")
			l.objects("spec.template.objects", objects)
		}
	}
	return l.findings
}

// version finds kinds of OpenShift in the group-less v1.
func (l *linter) version(at, version, kind string) {
	if gvk := schema.FromAPIVersionAndKind(version, kind); kind != "Namespace" && api.Modern(gvk) != gvk {
		l.warn(RuleDeprecated, at, "%s %s is out of date: use %s", version, kind, api.Modern(gvk).GroupVersion())
	}
}

func (l *linter) objects(at string, objects any) {
	list, _ := objects.([]any)
	for i, o := range list {
		if m, ok := o.(map[string]any); ok {
			version, _ := m["apiVersion"].(string)
			kind, _ := m["kind"].(string)
			l.version(fmt.Sprintf("%s[%d].apiVersion", at, i), version, kind)
		}
	}
}

// plain finds a Secret that holds something.
func (l *linter) plain(secret map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		if values, ok := secret[field].(map[string]any); ok && len(values) > 0 {
			l.warn(RulePlain, field, "its values stand in the repository in plain text: encrypt the file with sops, or generate them by a template")
		}
	}
}
