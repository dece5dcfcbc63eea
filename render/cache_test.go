package render_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// digested is a tree that tells digests, and that can be shut.
type digested struct {
	fs.FS
	shut bool
}

func (d digested) Digest(name string) (string, bool) {
	h := sha256.New()
	err := fs.WalkDir(d.FS, name, func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(d.FS, at)
		fmt.Fprintf(h, "%s %v %x\n", at, e.Type(), sha256.Sum256(data))
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err == nil
}

func (d digested) Open(name string) (fs.File, error) {
	if d.shut {
		return nil, errors.New("nothing is to be read")
	}
	return d.FS.Open(name)
}

func (d digested) ReadDir(name string) ([]fs.DirEntry, error) {
	if d.shut {
		return nil, errors.New("nothing is to be read")
	}
	return fs.ReadDir(d.FS, name)
}

// What is as it was is answered without reading a file; what is not, is rendered. Either
// way what it depends on is told, and another hash for another outcome.
func TestDigestsTellWhatIsAsItWas(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := map[string]string{
		"app/a.jsonnet":        "[import 'x.libsonnet', {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'own'}}]",
		"lib/x.libsonnet":      "(import 'deep/y.libsonnet') + {metadata: {name: 'shared'}}",
		"lib/deep/y.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap'}",
		"other/b.yaml":         "kind: [",
	}
	hashes := map[string]string{}
	expect := func(step string, parameters map[string]string, same bool) {
		t.Helper()
		q := render.Request{Tree: digested{tree(files), same}, Path: "app", Project: "shop", Application: "a/b", Parameters: parameters}
		d, err := r.Render(t.Context(), q)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		for before, hash := range hashes {
			if d.Hash == hash && before != step {
				t.Errorf("%s: has the hash of %s", step, before)
			}
		}
		if was := hashes[step]; was != "" && was != d.Hash || d.Hash == "" {
			t.Errorf("%s: hash %q, was %q", step, d.Hash, was)
		}
		hashes[step] = d.Hash
		want := api.Depends{Files: []string{"app/a.jsonnet", "app/x.libsonnet", "lib/deep/y.libsonnet", "lib/x.libsonnet"}, Folders: []string{"app"}}
		if !slices.Equal(d.Depends.Files, want.Files) || !slices.Equal(d.Depends.Folders, want.Folders) {
			t.Errorf("%s: depends on %v", step, d.Depends)
		}
	}
	expect("first", nil, false)
	expect("first", nil, true)
	files["other/b.yaml"] = "kind: ]"
	expect("first", nil, true)
	expect("parameter", map[string]string{"a": "b"}, false)
	expect("first", nil, true)
	was := files["lib/deep/y.libsonnet"]
	files["lib/deep/y.libsonnet"] += "+{data: {a: 'b'}}"
	expect("library", nil, false)
	files["lib/deep/y.libsonnet"] = was
	expect("first", nil, false)
	files["app/a.jsonnet"] += " "
	expect("blank", nil, false)
	files["app/a.jsonnet"] = strings.TrimSuffix(files["app/a.jsonnet"], " ")
	expect("first", nil, true)
}

// A mistake also says what it depends on, and one that comes from a link is found mended.
func TestMistakesDependToo(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := tree(map[string]string{"app/a.jsonnet": "import 'x.libsonnet'", "lib/x.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}"})
	link := *files["lib/x.libsonnet"]
	link.Mode |= fs.ModeSymlink
	good := files["lib/x.libsonnet"]
	files["lib/x.libsonnet"] = &link
	q := render.Request{Tree: digested{FS: files}, Path: "app", Project: "shop", Application: "a/b"}
	d, err := r.Render(t.Context(), q)
	if err == nil || !strings.Contains(err.Error(), "is a symbolic link") || !d.Depends.On("lib/x.libsonnet") || !d.Depends.On("app/x.libsonnet") || d.Depends.On("lib/y") {
		t.Errorf("got %v, depends on %v", err, d.Depends)
	}
	files["lib/x.libsonnet"] = good
	if d, err := r.Render(t.Context(), q); err != nil || len(d.Objects) != 1 {
		t.Errorf("after it was mended: %v", err)
	}
}

// Of an application's files only those are evaluated again that changed, or that import
// what changed; what comes out is what a renderer gives that knows nothing. Nothing that
// one render does to its objects shows in another.
func TestFilesAreKeptOneByOne(t *testing.T) {
	stream := "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: web}\nspec: {lookupPolicy: {local: false}}\n"
	lock := `{"images": {"web:%s": {"from": "shop/web", "digest": "sha256:` + strings.Repeat("a", 64) + `"}}}`
	secret := "(import 'slipway.libsonnet').template({kind: 'Template', apiVersion: 'v1', metadata: {name: 't'}, parameters: [{name: 'P', generate: 'expression', from: '[a-z]{8}'}]," +
		"objects: [{apiVersion: 'v1', kind: 'Secret', metadata: {name: 's'}, stringData: {p: '${P}'}}]})"
	files := map[string]string{
		"app/a.yaml": fmt.Sprintf(serviceYAML, "a"), "app/stream.yaml": stream, "app/secret.jsonnet": secret,
		"app/c.jsonnet":   "function(who='nobody') (import 'c.libsonnet') + {metadata: {name: 'c'}, data: {who: who}}",
		"lib/c.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap'}",
	}
	ledger := &memory{}
	r := newRenderer(t, render.Options{Ledger: ledger})
	parameters := map[string]string{}
	for i, step := range []func(){
		func() {},
		func() { files["app/a.yaml"] = fmt.Sprintf(serviceYAML, "b") },
		func() { files["app/images.lock.json"] = fmt.Sprintf(lock, "one") },
		func() { files["app/images.lock.json"] = fmt.Sprintf(lock, "two") },
		func() { delete(files, "app/images.lock.json") },
		func() { files["lib/c.libsonnet"] += "+ {immutable: true}" },
		func() { files["app/c.libsonnet"] = "{apiVersion: 'v1', kind: 'ConfigMap', binaryData: {}}" },
		func() { parameters["who"] = "me" },
		func() { files["app/twice.yaml"] = stream },
		func() { delete(files, "app/twice.yaml"); files["app/z.yaml"] = "kind: [\n" },
		func() { files["app/z.yaml"] = fmt.Sprintf(serviceYAML, "z") },
		func() { ledger.values["a/b template/shop/t"]["P"] = "rotated!" },
	} {
		step()
		outcome := func(r *render.Renderer) string {
			d, err := r.Render(t.Context(), render.Request{
				Tree: digested{FS: tree(files)}, Path: "app", Project: "shop", Application: "a/b", Parameters: maps.Clone(parameters), Persist: true,
			})
			raw, jsonErr := json.Marshal([]any{d.Objects, d.Depends, d.Hash})
			return fmt.Sprint(string(raw), err, jsonErr)
		}
		if got, want := outcome(r), outcome(newRenderer(t, render.Options{Ledger: ledger})); got != want {
			t.Errorf("step %d: got %s\nwant %s", i, got, want)
		}
	}
}
