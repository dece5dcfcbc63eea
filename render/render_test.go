package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
	"slipway.dev/slipway/render/template"
)

const childEnv = "SLIPWAY_RENDER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// memory is a Ledger in memory.
type memory struct {
	mu     sync.Mutex
	values map[string]map[string]string // guarded by mu
	broken error
	// before runs ahead of each Keep.
	before func(m *memory, key string)
}

func (m *memory) Values(_ context.Context, application, instance string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values[application+" "+instance]), m.broken
}

func (m *memory) Keep(_ context.Context, application, instance string, values map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := application + " " + instance
	if m.before != nil {
		m.before(m, key)
	}
	if m.values == nil {
		m.values = map[string]map[string]string{}
	}
	if m.values[key] == nil {
		m.values[key] = map[string]string{}
	}
	for k, v := range values {
		if _, kept := m.values[key][k]; !kept {
			m.values[key][k] = v
		}
	}
	return nil
}

func newRenderer(t testing.TB, o render.Options) *render.Renderer {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Exe, o.Env = []string{exe}, []string{childEnv + "=1"}
	if o.Ledger == nil {
		o.Ledger = &memory{}
	}
	r := render.New(o)
	t.Cleanup(r.Close)
	return r
}

func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, data := range files {
		out[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return out
}

// Every folder of testdata is a repository: path app, project shop, parameter replicas=3.
// What it renders to is in golden.json, or its problems in problems.txt.
func TestGolden(t *testing.T) {
	r := newRenderer(t, render.Options{})
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			desired, err := r.Render(t.Context(), render.Request{
				Tree: os.DirFS(dir), Path: "app", Project: "shop", Application: "shop/" + filepath.Base(dir),
				Parameters: map[string]string{"replicas": "3", "HOST": "shop.example.com"},
			})
			file, got := "golden.json", ""
			var problems api.Problems
			if errors.As(err, &problems) {
				file, got = "problems.txt", problems.Error()+"\n"
			} else if err != nil {
				t.Fatal(err)
			} else {
				got = describe(t, desired)
			}
			compare(t, filepath.Join(dir, file), got)
		})
	}
}

func describe(t *testing.T, d api.Desired) string {
	t.Helper()
	type object struct {
		Name, File, Via string `json:",omitempty"`
		Line            int    `json:",omitempty"`
		Content         any
	}
	var objects []object
	for _, o := range d.Objects {
		objects = append(objects, object{api.ObjectName(o.Unstructured), o.Origin.File, o.Origin.Via, o.Origin.Line, o.Object})
	}
	raw, err := json.MarshalIndent(map[string]any{"Objects": objects, "Reads": d.Depends.Files}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw) + "\n"
}

// compare holds a text against a file, or writes it if SLIPWAY_GOLDEN=write.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("SLIPWAY_GOLDEN") == "write" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s differs from what was rendered (%v); SLIPWAY_GOLDEN=write go test writes it. Got:\n%s", file, err, got)
	}
}

const serviceYAML = "apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  ports:\n  - port: 80\n"

func TestPlacesAndProjects(t *testing.T) {
	r := newRenderer(t, render.Options{})
	service := fmt.Sprintf(serviceYAML, "web")
	for _, c := range []struct {
		name, path, project string
		files               map[string]string
		want                string
	}{
		{"another project", "", "shop", map[string]string{"a.yaml": strings.Replace(service, "  name", "  namespace: other\n  name", 1)},
			"a.yaml:4: other/service/web: metadata.namespace: is other, but the Application's project is shop"},
		{"no project", "", "", map[string]string{"a.yaml": service}, "a.yaml:3: service/web: metadata.namespace: must name a project"},
		{"cluster-wide", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n"},
			"a.yaml:2: project/other: kind: a Project is cluster-wide, but the Application's project is shop"},
		{"another's network", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  annotations:\n    pod.network.openshift.io/multitenant.change-network: join:bank\n"},
			"a.yaml:6: project/shop: metadata.annotations[pod.network.openshift.io/multitenant.change-network]: is refused"},
		{"what nothing serves", "", "shop", map[string]string{"a.yaml": "apiVersion: build.openshift.io/v1\nkind: BuildConfig\nmetadata: {name: b}\nspec:\n  output: {}\n  strategy:\n    jenkinsPipelineStrategy: {}\n"},
			"a.yaml:7: shop/buildconfig/b: spec.strategy.jenkinsPipelineStrategy: Forbidden: jenkinsPipelineStrategy is not served"},
		{"cluster-wide with a namespace", "", "", map[string]string{"a.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: other, namespace: x}\n"}, "is cluster-wide and has no namespace"},
		{"twice", "d", "shop", map[string]string{"d/a.yaml": service, "d/b.yaml": "# again\n" + service}, "d/b.yaml:5: shop/service/web: metadata.name: is declared twice: also at d/a.yaml:1"},
		{"runtime kind", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Build\nmetadata: {name: b}\n"}, "a.yaml:2: shop/build/b: kind: Forbidden"},
		{"unknown kind", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Servise\nmetadata: {name: b}\n"}, "a.yaml:2: servise/b: kind: there is no kind Servise in v1: did you mean Service?"},
		{"unknown group", "", "shop", map[string]string{"a.yaml": "apiVersion: apps/v1\nkind: DeploymentConfig\nmetadata: {name: b}\n"}, "did you mean DeploymentConfig in apps.openshift.io/v1?"},
		{"unknown word", "", "shop", map[string]string{"a.yaml": "apiVersion: apps/v1\nkind: StatfulSet\nmetadata: {name: b}\n"}, "did you mean StatefulSet?"},
		{"unknown field", "", "shop", map[string]string{"a.yaml": service + "  selektor: {}\n"}, "a.yaml:8: shop/service/web: spec.selektor: "},
		{"field of a list", "", "shop", map[string]string{"a.yaml": service + "  - port: 80000\n    name: x\n"}, "a.yaml:8: shop/service/web: spec.ports[1].port: "},
		{"no metadata", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\n"}, "metadata.name"},
		{"metadata of a wrong type", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: 3\n"}, "a.yaml:3: service/: metadata: "},
		{"no kind", "", "shop", map[string]string{"a.yaml": "a: 1\n"}, "a.yaml:1: /: kind: "},
		{"no such folder", "x", "shop", map[string]string{"a.yaml": ""}, "there is no folder x in the repository"},
		{"a file for a folder", "a.yaml", "shop", map[string]string{"a.yaml": ""}, "there is no folder a.yaml in the repository"},
		{"absolute", "/etc", "shop", nil, "path /etc is not a folder inside of the repository"},
		{"upwards", "a/../../etc", "shop", nil, "is not a folder inside of the repository"},
		{"secret value", "", "shop", map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: canary!}\n"}, "a.yaml:4: shop/secret/s: data[k]: "},
	} {
		_, err := r.Render(t.Context(), render.Request{Tree: tree(c.files), Path: c.path, Project: c.project, Application: "a/" + c.name})
		var problems api.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	r := newRenderer(t, render.Options{})
	_, err := r.Render(t.Context(), render.Request{Project: "shop", Application: "a/b", Tree: tree(map[string]string{
		"a.yaml":           fmt.Sprintf(serviceYAML, "Bad_Name") + "---\n: : :\n---\n" + fmt.Sprintf(serviceYAML, "good"),
		"b/c.jsonnet":      "{\n  a: error 'oh',\n}",
		"b/d.json":         "{\"apiVersion\": \"v1\",\n\"kind\": \"Sevice\", \"metadata\": {\"name\": \"x\"}}",
		"images.lock.json": "{\"images\": {\n\"frontend\": {},\n\"web:live\": {\"from\": \"dev/web\", \"digets\": \"x\"}}}",
	})})
	var problems api.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a.yaml:4: shop/service/Bad_Name: metadata.name: ", "a.yaml:9: not valid YAML: ", "b/c.jsonnet:2: oh",
		"b/d.json:2: sevice/x: kind: there is no kind Sevice", `images.lock.json:2: images.frontend: "frontend" is not stream:tag`,
		"images.lock.json:3: images.web:live.digets: unknown field: did you mean digest?", "images.lock.json:3: images.web:live.digest: must be sha256:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\n%v", want, err)
		}
	}
}

// A canary outside of the repository must show up nowhere, whatever way it is asked for.
func TestNothingOutsideOfTheTreeIsRead(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(root, "outside")
	repo := filepath.Join(root, "repo")
	for dir, file := range map[string]string{outside: "canary.libsonnet", filepath.Join(repo, "app"): "a.jsonnet"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte("{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'canary'}}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link.libsonnet": outside + "/canary.libsonnet", "folder": outside, "relative": "../outside", "zero": "/dev/zero"} {
		if err := os.Symlink(to, filepath.Join(repo, link)); err != nil {
			t.Fatal(err)
		}
	}
	r := newRenderer(t, render.Options{})
	for _, ask := range []string{
		outside + "/canary.libsonnet", "../../outside/canary.libsonnet", "../link.libsonnet", "../folder/canary.libsonnet",
		"../relative/canary.libsonnet", "../zero", "../folder/../../outside/canary.libsonnet", "/proc/self/environ", "../repo/../../outside/canary.libsonnet",
	} {
		for _, verb := range []string{"import", "importstr", "importbin"} {
			source := fmt.Sprintf("{a: %s '%s'}", verb, ask)
			if err := os.WriteFile(filepath.Join(repo, "app/a.jsonnet"), []byte(source), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := r.Render(t.Context(), render.Request{Tree: os.DirFS(repo), Path: "app", Project: "shop", Application: "a/b"})
			var problems api.Problems
			if !errors.As(err, &problems) || strings.Contains(err.Error(), "'canary'") {
				t.Errorf("%s: %v", source, err)
			}
		}
	}
	for _, path := range []string{"folder", "relative", "folder/", "../outside", "app/../folder"} {
		got, err := r.Render(t.Context(), render.Request{Tree: os.DirFS(repo), Path: path, Project: "shop", Application: "a/b"})
		var problems api.Problems
		if !errors.As(err, &problems) || len(got.Objects) > 0 {
			t.Errorf("path %s: %v, %v", path, got.Objects, err)
		}
	}
	if err := os.Remove(filepath.Join(repo, "app/a.jsonnet")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside+"/canary.libsonnet", filepath.Join(repo, "app/b.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "app/c.yaml"), []byte("kind: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := r.Render(t.Context(), render.Request{Tree: os.DirFS(repo), Path: "app", Project: "shop", Application: "a/b"})
	if err == nil || !strings.Contains(err.Error(), "app/b.yaml: is a symbolic link") || !strings.Contains(err.Error(), "app/c.yaml:1: not valid YAML") {
		t.Errorf("a linked file beside another mistake: %v", err)
	}
}

const templated = `
apiVersion: v1
kind: Template
metadata: {name: db}
parameters:
- {name: PASSWORD, generate: expression, from: "[a-z0-9]{16}"}
- {name: USER, value: app}
- {name: HOST}
objects:
- apiVersion: v1
  kind: Secret
  metadata: {name: db}
  stringData: {password: "${PASSWORD}", user: "${USER}", host: "${HOST}"}
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: db
    labels: {bad: "%s"}
---
apiVersion: template.openshift.io/v1
kind: TemplateInstance
metadata: {name: main}
spec:
  template: {metadata: {name: db}, objects: []}
  secret: {name: given}
---
apiVersion: v1
kind: Secret
metadata: {name: given}
stringData: {USER: from-secret}
`

func password(t *testing.T, d api.Desired, name string) string {
	t.Helper()
	for _, o := range d.Objects {
		if o.GetKind() == "Secret" && o.GetName() == name {
			data, _ := o.Object["data"].(map[string]any)
			s, _ := data["password"].(string)
			return s
		}
	}
	t.Fatalf("no Secret %s", name)
	return ""
}

func TestGeneratedValuesAreMadeOnce(t *testing.T) {
	l := &memory{}
	r := newRenderer(t, render.Options{Ledger: l})
	q := render.Request{Tree: tree(map[string]string{"a.yaml": fmt.Sprintf(templated, "ok"),
		"b.jsonnet": "local s = import 'slipway.libsonnet';\ns.template(s.parseYaml(importstr 'a.yaml')[0] + {objects: [super.objects[0] + {metadata: {name: 'j'}}]}, {HOST: 'x'})"}),
		Project: "shop", Application: "shop/app", Parameters: map[string]string{"HOST": "h", "other": "x"}}
	preview, err := r.Render(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	const placeholder = "Z2VuZXJhdGVkZ2VuZXJhdA==" // generatedgenerat
	if password(t, preview, "db") != placeholder || password(t, preview, "j") != placeholder || len(l.values) > 0 {
		t.Errorf("a preview made values: %v", l.values)
	}
	bad := q
	bad.Persist, bad.Tree = true, tree(map[string]string{"a.yaml": fmt.Sprintf(templated, "${PASSWORD} !")})
	if _, err := r.Render(t.Context(), bad); err == nil || len(l.values) > 0 || !strings.Contains(err.Error(), "a.yaml:18: shop/configmap/db: metadata.labels") || !strings.Contains(err.Error(), "[generated] !") {
		t.Errorf("a bad commit: %v, kept %v", err, l.values)
	}
	q.Persist = true
	first, err := r.Render(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	made := password(t, first, "db")
	if made == placeholder || password(t, first, "j") == made {
		t.Errorf("made %q", made)
	}
	q.Persist = false
	for _, again := range []*render.Renderer{r, newRenderer(t, render.Options{Ledger: l})} {
		second, err := again.Render(t.Context(), q)
		if err != nil || password(t, second, "db") != made || password(t, second, "j") != password(t, first, "j") {
			t.Errorf("made again: %v", err)
		}
	}
	for _, o := range first.Objects {
		if o.GetName() == "db" && o.GetKind() == "Secret" {
			if o.Origin.Via != "template db, instance main" || o.Origin.Line != 10 || o.Object["data"].(map[string]any)["user"] != "ZnJvbS1zZWNyZXQ=" {
				t.Errorf("origin %+v, data %v", o.Origin, o.Object["data"])
			}
		}
	}
	l.broken = errors.New("the ledger is away")
	var problems api.Problems
	if _, err := r.Render(t.Context(), q); !errors.Is(err, l.broken) || errors.As(err, &problems) {
		t.Errorf("a ledger that cannot be read: %v", err)
	}
}

// Another render keeps its value between this one's reading and keeping.
func TestALostRaceTakesTheWinnersValue(t *testing.T) {
	l := &memory{before: func(m *memory, key string) {
		if m.values == nil {
			m.values = map[string]map[string]string{key: {"PASSWORD": "winner"}}
		}
	}}
	r := newRenderer(t, render.Options{Ledger: l})
	d, err := r.Render(t.Context(), render.Request{Tree: tree(map[string]string{"a.yaml": fmt.Sprintf(templated, "ok")}), Project: "shop", Application: "a/b", Persist: true})
	if err != nil || password(t, d, "db") != "d2lubmVy" {
		t.Errorf("got %v", err)
	}
}

// counting counts how often files are opened.
type counting struct {
	fs.FS
	broken string
}

func (c counting) Open(name string) (fs.File, error) {
	if name == c.broken {
		return nil, errors.New("the store is away")
	}
	return c.FS.Open(name)
}

func TestCacheKnowsWhatWasRead(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := map[string]string{
		"app/a.jsonnet":      "[import 'x.libsonnet', {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: std.parseInt('1') + ''}}]",
		"vendor/x.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'vendored'}}",
		"other/b.yaml":       "kind: [",
	}
	names := func() []string {
		d, err := r.Render(t.Context(), render.Request{Tree: tree(files), Path: "app", Project: "shop", Application: "a/b"})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"app/a.jsonnet", "vendor/x.libsonnet"}; len(d.Depends.Files) < 2 || !slices.Contains(d.Depends.Files, want[0]) {
			t.Errorf("reads %v", d.Depends.Files)
		}
		var out []string
		for _, o := range d.Objects {
			out = append(out, o.GetName())
		}
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		for range 2 {
			if got := names(); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	expect("vendored", "1")
	files["other/b.yaml"] = "kind: ]"
	expect("vendored", "1")
	files["lib/x.libsonnet"] = "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'library'}}"
	expect("library", "1")
	files["lib/x.libsonnet"] = "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'changed'}}"
	expect("changed", "1")
	files["app/c.yaml"] = fmt.Sprintf(serviceYAML, "web")
	expect("changed", "1", "web")
}

// withSubmodule is a tree in which what is below a folder is in another repository.
type withSubmodule struct {
	fs.FS
	module string
}

func (w withSubmodule) Open(name string) (fs.File, error) {
	if name == w.module || strings.HasPrefix(name, w.module+"/") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: submodule %s", api.ErrUnread, w.module)}
	}
	return w.FS.Open(name)
}

func TestWhatIsNotReadIsAMistakeOfTheAuthor(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := tree(map[string]string{
		"app/a.jsonnet": "\nimport 'deep/b.libsonnet'", "app/deep/b.libsonnet": "{}", "lib/deep/x": "", "lib/deep/b.libsonnet": "{}",
		"app/wrong.yaml": "kind: [",
	})
	for _, module := range []string{"app/deep", "app/deep/b.libsonnet", "app/a.jsonnet"} {
		_, err := r.Render(t.Context(), render.Request{Tree: withSubmodule{files, module}, Path: "app", Project: "shop", Application: "a/b"})
		var problems api.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", module, err)
			continue
		}
		// The file and the submodule are named, and all other mistakes are told, too.
		for _, want := range []string{"app/a.jsonnet", "submodule " + module, "app/wrong.yaml:1"} {
			if !strings.Contains(problems.Error(), want) {
				t.Errorf("%s: want %q: %v", module, want, problems)
			}
		}
	}
}

func TestAFailedReadIsNoMistakeOfTheAuthor(t *testing.T) {
	r := newRenderer(t, render.Options{})
	files := tree(map[string]string{"a.jsonnet": "import 'b.libsonnet'", "b.libsonnet": "{}"})
	for _, broken := range []string{".", "a.jsonnet", "b.libsonnet"} {
		_, err := r.Render(t.Context(), render.Request{Tree: counting{files, broken}, Project: "shop", Application: "a/b"})
		var problems api.Problems
		if err == nil || errors.As(err, &problems) || !strings.Contains(err.Error(), "the store is away") {
			t.Errorf("%s: %v", broken, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Render(ctx, render.Request{Tree: files, Project: "shop", Application: "a/b"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProcess(t *testing.T) {
	data := []byte("apiVersion: v1\nkind: Template\nparameters:\n- name: A\n  required: true\nobjects:\n- kind: X\n  a: ${A}\n")
	got, err := render.Process("t.yaml", data, map[string]string{"A": "1"}, template.Options{})
	if err != nil || got.List().Object["items"].([]any)[0].(map[string]any)["a"] != "1" {
		t.Errorf("got %v, %v", got, err)
	}
	for name, c := range map[string]struct{ data, want string }{
		"missing":        {string(data), "t.yaml:4: parameters[0]: "},
		"not a template": {"kind: X\n", "must hold one Template"},
		"bad YAML":       {"kind: [\n", "t.yaml:1: not valid YAML"},
	} {
		if _, err := render.Process("t.yaml", []byte(c.data), nil, template.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsAreCut(t *testing.T) {
	r := newRenderer(t, render.Options{})
	_, err := r.Render(t.Context(), render.Request{Tree: tree(map[string]string{"a.jsonnet": "error std.repeat('x', 50000)"}), Project: "shop", Application: "a/b"})
	if err == nil || len(err.Error()) > 5000 || !regexp.MustCompile(`^a\.jsonnet:1: xxx`).MatchString(err.Error()) {
		t.Errorf("got %.100v", err)
	}
}

func BenchmarkRender(b *testing.B) {
	r := newRenderer(b, render.Options{})
	for i := 0; b.Loop(); i++ {
		files := tree(map[string]string{"a.yaml": fmt.Sprintf(serviceYAML, "web"),
			"b.jsonnet": fmt.Sprintf("local s = import 'slipway.libsonnet'; [s.imageStream('frontend'), s.deploymentConfig('w%d', 'frontend:latest'), s.route('web')]", i)})
		if _, err := r.Render(b.Context(), render.Request{Tree: files, Project: "shop", Application: "a/b"}); err != nil {
			b.Fatal(err)
		}
	}
}
