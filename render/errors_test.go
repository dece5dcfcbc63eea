package render_test

import (
	"errors"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// All that is wrong with an application is said at once, each with the place where it can
// be mended: through templates, their parameters, Jsonnet and its imports.
func TestEveryMistakeHasAPlace(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := map[string]string{
		"a/template.yaml": `apiVersion: template.openshift.io/v1
kind: Template
metadata: {name: web}
parameters:
- {name: PORT, value: "99999"}
- {name: NAME, value: Not_A_Name}
- {name: KIND, value: Servise}
- {name: FIELD, value: nodePrt}
objects:
- apiVersion: v1
  kind: Service
  metadata:
    name: web
    labels:
      ${NAME}-x: "a b"
  spec:
    ports:
    - port: ${{PORT}}
- apiVersion: v1
  kind: ${KIND}
  metadata:
    name: ${NAME}${PORT}
---
apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: main}
spec: {template: {metadata: {name: web}}}
`,
		"a/embedded.yaml": `apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: other}
spec:
  template:
    metadata: {name: inner}
    parameters:
    - {name: NEEDED, required: true}
    - {name: PASSWORD, generate: magic}
    objects:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}
`,
		"a/objects.jsonnet": `local lib = import 'lib.libsonnet';
{
  good: lib.map('a'),
  bad: lib.map('A B'),
  worse: { deep: [lib.map('c') + { dta: {} }] },
}
`,
		"lib/lib.libsonnet": "{ map(name):: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name } } }",
		"a/fails.jsonnet":   "(import 'fails.libsonnet').f(1)",
		"lib/fails.libsonnet": `{
  f(x)::
    error 'never ' + x,
}
`,
		"a/uses.jsonnet": "local s = import 'slipway.libsonnet';\n\ns.template('../files/db.yml', { SIZE: 3 })",
		"files/db.yml":   "kind: Template\nmetadata: {name: db}\nparameters:\n- name: NAME\n  required: true\nobjects: []\n",
		"a/list.json":    "{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [\n{\"apiVersion\": \"v1\", \"kind\": \"Secret\",\n \"metadata\": {\"name\": \"s\"},\n \"data\": {\"k\": \"canary!\"}}]}",
		"a/broken.yaml":  "kind: [\n",
		"a/doubled.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
	}
	_, err := r.Render(t.Context(), render.Request{Tree: tree(files), Path: "a", Project: "shop", Application: "shop/errors"})
	var problems api.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	got := problems.Error()
	for _, want := range []string{
		"a/broken.yaml:1: not valid YAML",
		"a/objects.jsonnet:3: shop/configmap/a: metadata.name: is declared twice: also at a/doubled.yaml:1 (evaluates to it at .good)",
		"a/embedded.yaml:8: shop/templateinstance/other: spec.template.parameters[0]: Required value: template.parameters[0]: parameter NEEDED is required and must be specified (template inner, instance other)",
		"a/embedded.yaml:9: shop/templateinstance/other: spec.template.parameters[1]",
		"Unknown generator name 'magic' for parameter PASSWORD",
		"lib/fails.libsonnet:3: never 1 (imported by a/fails.jsonnet)",
		"a/list.json:4: shop/secret/s: data[k]: ",
		"a/objects.jsonnet:4: shop/configmap/A B: metadata.name: ",
		"(evaluates to it at .bad)",
		"a/objects.jsonnet:5: shop/configmap/c: dta: ",
		"(evaluates to it at .worse.deep[0])",
		"a/template.yaml:18: shop/service/web: spec.ports[0].port: ",
		"(template web, instance main, parameter PORT)",
		"a/template.yaml:20: servise/Not_A_Name99999: kind: there is no kind Servise in v1: did you mean Service? (template web, instance main, parameter KIND)",
		"a/uses.jsonnet:3: template db: files/db.yml:4: template.parameters[0]: Required value",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "canary") {
		t.Errorf("a secret is in\n%s", got)
	}
}
