package render_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/ledger"
	"slipway.dev/slipway/state/statetest"
)

// Nothing follows from a value that a concealed render was not given: neither from what is
// generated and kept, nor from what is encrypted, nor from anything made of them.
func TestConcealedValues(t *testing.T) {
	c := statetest.New(t)
	o := render.Options{Ledger: ledger.Ledger{Client: c}, Keyring: &ring{text: sealedFile(t, "a.agekey"), digest: "a"}}
	r := newRenderer(t, o)
	files := instance("")
	files["secret.yaml"] = sealedFile(t, "sealed/secret.yaml")
	files["from.yaml"] = `apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: from}
spec:
  secret: {name: database}
  template:
    parameters: [{name: password}, {name: token}, {name: user}, {name: empty}, {name: text}]
    objects:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: from}, data: {a: "${password}", b: "${token}"}}
`
	files["encoded.jsonnet"] = `local made = (import 'slipway.libsonnet').template({kind: 'Template', apiVersion: 'v1', metadata: {name: 't'},
		parameters: [{name: 'P', generate: 'expression', from: '[a-z]{24}'}],
		objects: [{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'm'}, data: {p: '${P}'}}]});
		std.map(function(o) o { data: { p: o.data.p, md5: std.md5(o.data.p), reversed: std.join('', std.reverse(std.stringChars(o.data.p))) } }, made)`
	text := func(r *render.Renderer, conceal bool) (string, map[string]string) {
		t.Helper()
		got, err := r.Render(t.Context(), render.Request{Tree: tree(files), Project: "shop", Application: "shop/app", Persist: !conceal, Conceal: conceal})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(got.Objects)
		if err != nil {
			t.Fatal(err)
		}
		leaves := map[string]string{}
		for _, o := range got.Objects {
			data, _ := o.Object["data"].(map[string]any)
			for k, v := range data {
				leaves[o.GetName()+"."+k], _ = v.(string)
			}
		}
		return string(raw), leaves
	}
	_, open := text(r, false)
	concealed, covered := text(r, true)
	if len(covered) != len(open) {
		t.Errorf("another form: %v and %v", open, covered)
	}
	for at, value := range open {
		if len(value) >= 4 && strings.Contains(concealed, value) {
			t.Errorf("%s is shown: %s", at, value)
		}
	}
	for _, at := range []string{"m.p", "db.password", "db.user", "database.password"} {
		if len(covered[at]) < 4 {
			t.Errorf("%s is %q", at, covered[at])
		}
	}
	if covered["m.p"] == covered["db.password"] || covered["from.a"] == covered["from.b"] {
		t.Errorf("values that differ are alike: %v", covered)
	}
	if !strings.HasPrefix(covered["db.password"], "generated") || !strings.HasPrefix(covered["from.a"], "encrypted") {
		t.Errorf("the stand-ins look real: %v", covered)
	}
	if _, again := text(r, true); !maps.Equal(again, covered) {
		t.Errorf("once %v, then %v", covered, again)
	}
	if _, other := text(newRenderer(t, o), true); other["db.password"] == covered["db.password"] {
		t.Error("the stand-ins of two renderers are alike")
	}
	if _, again := text(r, false); !maps.Equal(again, open) {
		t.Errorf("once %v, then %v", open, again)
	}
}
