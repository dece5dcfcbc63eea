package reconciler

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	json, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = o.UnmarshalJSON(json)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}

func annotated(annotations string) string {
	return "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, annotations: {" + annotations + "}}, data: {a: '1', b: '1'}}"
}

func TestPoliciesAreReadFromAnnotations(t *testing.T) {
	t.Parallel()
	for annotations, want := range map[string]policy{
		"":                                       {apply: applyOverride},
		"slipway.dev/ssa: ifnotpresent":          {apply: applyOnce},
		"kustomize.toolkit.fluxcd.io/ssa: Merge": {apply: applyMerge},
		"slipway.dev/ssa: Ignore":                {apply: applyNever, keep: true},
		"kustomize.toolkit.fluxcd.io/reconcile: disabled":    {apply: applyNever, keep: true},
		"slipway.dev/prune: disabled":                        {apply: applyOverride, keep: true},
		"kustomize.toolkit.fluxcd.io/prune: disabled":        {apply: applyOverride, keep: true},
		"argocd.argoproj.io/sync-options: 'A=b,Prune=false'": {apply: applyOverride, keep: true},
		"slipway.dev/force: enabled":                         {apply: applyOverride, force: true},
		"kustomize.toolkit.fluxcd.io/force: enabled":         {apply: applyOverride, force: true},
		"argocd.argoproj.io/sync-options: Replace=true":      {apply: applyOverride, force: true},
	} {
		got, err := policyOf(parsed(t, annotated(annotations)))
		if err != nil || got.apply != want.apply || got.keep != want.keep || got.force != want.force {
			t.Errorf("%s: %+v, %v, want %+v", annotations, got, err, want)
		}
	}
	for annotations, want := range map[string]string{
		"slipway.dev/ssa: always":                 `[slipway.dev/ssa]: is "always", not Override`,
		"slipway.dev/ignore: spec.replicas":       `"spec.replicas" is not a JSON pointer`,
		"slipway.dev/ignore: /metadata/name":      "only fields of spec",
		"slipway.dev/ignore: '/data/a,'":          "is not a JSON pointer",
		"kustomize.toolkit.fluxcd.io/ssa: 'nope'": "[kustomize.toolkit.fluxcd.io/ssa]",
	} {
		if _, err := policyOf(parsed(t, annotated(annotations))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", annotations, err, want)
		}
	}
}

func TestIgnoredFields(t *testing.T) {
	t.Parallel()
	const managed = `{apiVersion: v1, kind: Pod, metadata: {name: x, managedFields: [
		{manager: slipway, operation: Apply, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:a: {}, f:c: {}}}},
		{manager: kubectl, operation: Update, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:b: {}, f:containers: {'k:{"name":"web"}': {f:image: {}}}, f:deep: {f:er: {}}}}},
		{manager: kubectl, operation: Update, subresource: status, fieldsType: FieldsV1, fieldsV1: {f:spec: {f:a: {}}}}]},
		spec: {a: live, b: live, deep: {er: live}, containers: [{name: app, image: live}, {name: web, image: live}]}}`
	const git = `{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {a: git, b: git, c: git, deep: {er: git}, containers: [{name: app, image: git}, {name: web, image: git}]}}`
	for ignore, want := range map[string]string{
		"/spec/a":    `{a: live, b: git, c: git, deep: {er: git}, containers: [{name: app, image: git}, {name: web, image: git}]}`,
		"/spec/b":    `{a: git, c: git, deep: {er: git}, containers: [{name: app, image: git}, {name: web, image: git}]}`,
		"/spec/c":    `{a: git, b: git, deep: {er: git}, containers: [{name: app, image: git}, {name: web, image: git}]}`,
		"/spec/deep": `{a: git, b: git, c: git, containers: [{name: app, image: git}, {name: web, image: git}]}`,
		"/spec/containers/0/image, /spec/containers/web/image": `{a: git, b: git, c: git, deep: {er: git}, containers: [{name: app, image: live}, {name: web}]}`,
		"/spec/unknown/field": `{a: git, b: git, c: git, deep: {er: git}, containers: [{name: app, image: git}, {name: web, image: git}]}`,
	} {
		paths, err := pointers(ignore)
		if err != nil {
			t.Fatal(err)
		}
		p := policy{apply: applyOverride, ignore: paths}
		o := parsed(t, git)
		if !p.onto(o, parsed(t, managed)) {
			t.Errorf("%s: is left alone", ignore)
		}
		got, _ := yaml.Marshal(o.Object["spec"])
		expect, _ := yaml.Marshal(parsed(t, strings.Replace(git, git[strings.Index(git, "{a:"):len(git)-1], want, 1)).Object["spec"])
		if string(got) != string(expect) {
			t.Errorf("%s: is\n%swant\n%s", ignore, got, expect)
		}
		// On creation git's values are set.
		o = parsed(t, git)
		if p.onto(o, nil); !strings.Contains(parsed(t, git).GetName()+o.GetName(), "xx") || o.Object["spec"].(map[string]any)["a"] != "git" {
			t.Errorf("%s: a creation is %v", ignore, o.Object)
		}
	}
}

func FuzzPointersLeadNowhereElse(f *testing.F) {
	f.Add("/spec/replicas,/data/a~1b")
	f.Add("/spec/containers/0/image")
	f.Add("/metadata/labels/x, /spec//y")
	f.Fuzz(func(t *testing.T, text string) {
		paths, err := pointers(text)
		if err != nil {
			return
		}
		o := map[string]any{"metadata": map[string]any{"name": "x"}, "spec": map[string]any{"list": []any{map[string]any{"name": "a"}, "b"}}}
		for _, p := range paths {
			at(o, p)
			replace(o, p, "y")
			remove(o, p)
		}
		if o["metadata"].(map[string]any)["name"] != "x" {
			t.Errorf("%q changed the name", text)
		}
	})
}
