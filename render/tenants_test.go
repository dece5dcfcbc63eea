package render_test

import (
	"fmt"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// One child renders applications of several tenants one after the other. What they import
// under the same names never gets from one to the other: not what a library made of a
// parameter or of a generated value, nor a file that only one of the trees has.
func TestOneChildForManyTenants(t *testing.T) {
	r := newRenderer(t, render.Options{Workers: 1, Ledger: &memory{values: map[string]map[string]string{
		"a/one template/shop/t": {"P": "kept-by-one"}, "a/two template/shop/t": {"P": "kept-by-two"},
	}}})
	files := map[string]string{
		"app/a.jsonnet": "local l = import 'l.libsonnet'; {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}, data: l}",
		"lib/l.libsonnet": `local s = import 'slipway.libsonnet';
			{who: s.param('who', 'nobody'), generated: s.template({kind: 'Template', apiVersion: 'v1', metadata: {name: 't'},
			parameters: [{name: 'P', generate: 'expression', from: '[a-z]{8}'}], objects: [{kind: 'X', apiVersion: 'v1', p: '${P}'}]})[0].p, deep: import 'deep.libsonnet'}`,
		"lib/deep.libsonnet": "'first'",
	}
	for i, c := range []struct {
		application, who, change, text, want string
	}{
		{"a/one", "1", "", "", "1 kept-by-one first"},
		{"a/two", "2", "", "", "2 kept-by-two first"},
		{"a/one", "", "", "", "nobody kept-by-one first"},
		{"a/two", "2", "lib/deep.libsonnet", "'second'", "2 kept-by-two second"},
		{"a/one", "1", "vendor/deep.libsonnet", "'vendored'", "1 kept-by-one second"},
		{"a/one", "1", "lib/lib/deep.libsonnet", "'not beside'", "1 kept-by-one second"},
		{"a/two", "2", "app/l.libsonnet", "{who: 'own', generated: 'none', deep: 'none'}", "own none none"},
		{"a/one", "3", "app/l.libsonnet", "", "3 kept-by-one second"},
		{"a/one", "3", "lib/deep.libsonnet", "", "3 kept-by-one vendored"},
	} {
		if c.change != "" {
			files[c.change] = c.text
		}
		if c.text == "" {
			delete(files, c.change)
		}
		q := render.Request{Tree: digested{FS: tree(files)}, Path: "app", Project: "shop", Application: c.application, Persist: true}
		if i%2 == 1 {
			q.Tree = tree(files) // One that tells no digests.
		}
		if c.who != "" {
			q.Parameters = map[string]string{"who": c.who}
		}
		d, err := r.Render(t.Context(), q)
		if err != nil || len(d.Objects) != 1 {
			t.Fatalf("%d: %v", i, err)
		}
		data := d.Objects[0].Object["data"].(map[string]any)
		if got := fmt.Sprint(data["who"], " ", data["generated"], " ", data["deep"]); got != c.want {
			t.Errorf("%d: got %q, want %q", i, got, c.want)
		}
		wantDeep := !strings.HasPrefix(c.want, "own")
		if d.Depends.On("lib/deep.libsonnet") != wantDeep || !d.Depends.On("lib/l.libsonnet") && wantDeep {
			t.Errorf("%d: depends on %v", i, d.Depends.Files)
		}
	}
}

// However many files an application has, each one's objects and mistakes are its own.
func TestManyFilesInOneJob(t *testing.T) {
	r := newRenderer(t, render.Options{Workers: 1})
	files := map[string]string{"lib/l.libsonnet": "function(i) {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'f' + i}}"}
	for i := range 600 {
		files[fmt.Sprintf("app/%03d.jsonnet", i)] = fmt.Sprintf("(import 'l.libsonnet')(%d)", i)
		files[fmt.Sprintf("app/%03d.yaml", i)] = fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: y%d}}\n", i)
	}
	files["app/300.jsonnet"] = "{a: 1}"
	d, err := r.Render(t.Context(), render.Request{Tree: tree(files), Path: "app", Project: "shop", Application: "a/b"})
	if want := "app/300.jsonnet:1: .a: is a number where an object is expected"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	delete(files, "app/300.jsonnet")
	if d, err = r.Render(t.Context(), render.Request{Tree: tree(files), Path: "app", Project: "shop", Application: "a/b"}); err != nil || len(d.Objects) != 1199 {
		t.Fatalf("%d objects, %v", len(d.Objects), err)
	}
	seen := map[string]api.Origin{}
	for _, o := range d.Objects {
		seen[o.GetName()] = o.Origin
	}
	if len(seen) != 1199 || seen["f599"].File != "app/599.jsonnet" || seen["y7"].File != "app/007.yaml" {
		t.Errorf("%d names, f599 from %v, y7 from %v", len(seen), seen["f599"], seen["y7"])
	}
}
