package jsonnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
)

// files is a Host of files in memory; generated values are told by their names.
type files map[string]string

func (f files) Read(name string) ([]byte, bool, error) {
	data, ok := f[name]
	if data == "LINK" {
		return nil, false, errors.New("is a symbolic link")
	}
	return []byte(data), ok, nil
}

func (f files) Generated(instance, name, expression string) (string, error) {
	return fmt.Sprintf("<%s %s %s>", instance, name, expression), nil
}

func TestObjectsOutOfAFile(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		parameters     map[string]string
	}{
		{"an object", `{apiVersion: 'v1', kind: 'A'}`, "A", nil},
		{"an array", `[{apiVersion: 'v1', kind: 'A'}, [{apiVersion: 'v1', kind: 'B'}], null]`, "A@[0] B@[1][0]", nil},
		{"a list", `{apiVersion: 'v1', kind: 'List', items: [{apiVersion: 'v1', kind: 'A'}]}`, "A@.items[0]", nil},
		{"a tree", `{z: {b: {apiVersion: 'v1', kind: 'B'}, a: [{apiVersion: 'v1', kind: 'A'}]}, hidden:: 1}`, "A@.z.a[0] B@.z.b", nil},
		{"a function", `function(x, y='Y') [{apiVersion: 'v1', kind: x + y}]`, "AY@[0]", map[string]string{"x": "A", "other": "1"}},
		{"a function behind locals and imports", `local a = 1; (import 'lib.libsonnet')`, "q", map[string]string{"x": "q"}},
		{"natives", `local s = import 'slipway.libsonnet'; {apiVersion: 'v1', kind: std.join(',', [
			s.param('p'), '' + (s.param('n', 1) + 1), '' + s.param('missing', true), s.sha256('a')[:4], s.parseYaml('a: 1\n---\nb: x')[1].b,
			s.manifestYaml({a: [1, 2.5], b: 'x'}), '' + s.regexMatch('^a+$', 'aa'), s.regexSubst('b', 'abc', '-'),
			s.image('p/s').name, s.image('s:t').kind, s.image('s:t').name])}`,
			"P,3,true,ca97,x,a:\n  - 1\n  - 2.5\nb: x\n,true,a-c,s:latest,ImageStreamTag,s:t", map[string]string{"p": "P", "n": "2"}},
		{"Tanka's natives", `local n = std.native; {apiVersion: 'v1', kind: std.join('|', [
			n('manifestYamlFromJson')('{"b":[1,{"c":"x"}],"a":1.5}'), n('manifestJsonFromJson')('{"a":[1]}', 1), n('escapeStringRegex')('a.b'),
			'' + n('parseJson')('{"a":2}').a, '' + n('regexMatch')(regex='b', string='abc'), n('sha256')('')[:4]])}`,
			"a: 1.5\nb:\n    - 1\n    - c: x\n|{\n \"a\": [\n  1\n ]\n}\n|a\\.b|2|true|e3b0", nil},
		{"locked images", `local s = import 'slipway.libsonnet'; {apiVersion: 'v1', kind: std.join(' ', [
			s.lockedImage('web:live').name[:14], s.lockedImage('web:live').namespace, s.lockedImage('above').kind, '' + s.lockedImage('none:x')])}`,
			"web@sha256:000 dev ImageStreamImage null", nil},
		{"a template's file", `(import 'slipway.libsonnet').template('db.yaml', {NAME: 'x'}, 'main')`, "Secret@[0] Service@[1]", nil},
		{"vendored libraries", `local a = import 'github.com/x/libs/util/a.libsonnet', b = import 'util/a.libsonnet', c = import 'short/c.libsonnet';
			{apiVersion: 'v1', kind: a.k + b.k + c.k}`, "AAC", nil},
		{"template", `(import 'slipway.libsonnet').template({metadata: {name: 't'}, objects: [{apiVersion: 'v1', kind: 'Route', a: '${P}${N}'}],
			parameters: [{name: 'P', generate: 'expression', from: '[a-z]{3}'}, {name: 'N'}]}, {N: 3})[0] + {kind: super.kind + super.a}`,
			"Route<t P [a-z]{3}>3", nil},
	} {
		v := New(files{"d/a.jsonnet": c.in, "lib/lib.libsonnet": "function(x) {apiVersion: 'v1', kind: x}",
			"d/images.lock.json": `{"images":{"web:live":{"from":"dev/web","digest":"sha256:` + strings.Repeat("0", 64) + `"}}}`,
			"images.lock.json":   `{"images":{"above:latest":{"from":"dev/above","digest":"sha256:` + strings.Repeat("1", 64) + `"}}}`,
			"lib/db.yaml":        "kind: Template\nmetadata: {name: db}\nparameters: [{name: NAME}]\nobjects:\n- {apiVersion: v1, kind: Secret}\n- {apiVersion: v1, kind: Service}\n",
			"vendor/github.com/x/libs/util/a.libsonnet": "{k: 'A'}", "vendor/util/a.libsonnet": "LINK",
			"vendor/example.com/y/c/c.libsonnet": "{k: 'C'}",
			"jsonnetfile.lock.json": `{"version":1,"dependencies":[{"source":{"git":{"remote":"https://github.com/x/libs.git","subdir":"util"}},"version":"1"},
				{"source":{"git":{"remote":"git@example.com:y/c"}},"name":"short"}, {"source":{"git":{"remote":"https://e/../../..","subdir":"../../d"}},"name":"evil"}]}`}, c.parameters)
		docs, problems := v.Evaluate("d/a.jsonnet")
		var got []string
		for _, d := range docs {
			got = append(got, strings.TrimSuffix(fmt.Sprintf("%s@%s", d.Object["kind"], d.Via), "@"))
		}
		if len(problems) > 0 || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, %v", c.name, got, problems)
		}
	}
}

func TestMistakesAndTheirPlaces(t *testing.T) {
	tree := files{
		"d/bad.libsonnet":     "{\n  a: 1,\n  b: }\n",
		"d/fails.libsonnet":   "{\n  f(x):: error 'because ' + x,\n}",
		"d/self.libsonnet":    "import 'self.libsonnet'",
		"d/link.libsonnet":    "LINK",
		"vendor/v.libsonnet":  "{}",
		"d/sub/up.libsonnet":  "import '../../vendor/v.libsonnet'",
		"secret/of/other.txt": "canary",
		"lib/db.yaml":         "kind: Template\nmetadata: {name: db}\n",
		"lib/bad.yaml":        "kind: Template\nmetadata: {name: db}\nparameters:\n- name: P\n  required: true\n",
		"jsonnetfile.json":    `{"dependencies":[{"source":{"git":{"remote":"https://e/../../..","subdir":"../../d"}},"name":"evil"}]}`,
	}
	for _, c := range []struct{ in, want string }{
		{"{\n a: [}", "d/a.jsonnet:2: "},
		{"local a = 1;\nlocal b = x;\nb", "d/a.jsonnet:2: Unknown variable: x"},
		{"{\n  a: error 'oh' }", "d/a.jsonnet:2: oh"},
		{"\nimport 'bad.libsonnet'", "d/bad.libsonnet:3: "},
		{"[\n(import 'fails.libsonnet').f('x')]", "d/fails.libsonnet:2: because x (imported by d/a.jsonnet)"},
		{"\n(import 'slipway.libsonnet').image('A B')", `d/a.jsonnet:2: image: "A B" is not [project/]stream`},
		{"import 'self.libsonnet'", "d/self.libsonnet:1: "},
		{"import '/etc/passwd'", "absolute paths are not allowed"},
		{"importstr '../../etc/passwd'", "the path leaves the repository"},
		{"import '../../../d/a.jsonnet'", "the path leaves the repository"},
		{"import 'link.libsonnet'", "is a symbolic link"},
		{"import 'sub/../../x/../../y'", "the path leaves the repository"},
		{"import 'missing.libsonnet'", "no such file; looked for d/missing.libsonnet, lib/missing.libsonnet, vendor/missing.libsonnet"},
		{"import 'a\\u0000b'", "not a path"},
		{"function(\n x,\n y) 1", "d/a.jsonnet:2: parameters.x: the file's top-level function needs parameter x, which the Application does not give\nd/a.jsonnet:3: parameters.y"},
		{"3", "d/a.jsonnet:1: .: is a number where an object is expected"},
		{"{a: {b: 'x'}, c: true}", "d/a.jsonnet:1: .a.b: is a string where an object is expected\nd/a.jsonnet:1: .c: is a boolean"},
		{"{a: {kind: 'Service'}}", "d/a.jsonnet:1: .a: has a kind (Service) but no apiVersion"},
		{"local s = import 'slipway.libsonnet';\ns.param('x')", "d/a.jsonnet:2: parameter x is needed"},
		{"local s = import 'slipway.libsonnet';\ns.param('n', 1)", `d/a.jsonnet:2: parameter n must be a number, not "many"`},
		{"std.native('template')({metadata: {name: 't'}, parameters: [{name: 'P', required: true}]}, {X: 1}, '')", `unknown parameter name "X"`},
		{"local f(x) = f(x + 1); f(0)", "d/a.jsonnet:1: max stack frames exceeded."},
		{"std.native('template')('missing.yaml', {}, '')", `template "missing.yaml": no such file; looked for d/missing.yaml, lib/missing.yaml, vendor/missing.yaml`},
		{"std.native('template')('/etc/passwd', {}, '')", "absolute paths are not allowed"},
		{"std.native('template')('../../x.yaml', {}, '')", "the path leaves the repository"},
		{"std.native('template')('fails.libsonnet', {}, '')", "d/fails.libsonnet"},
		{"std.native('template')('db.yaml', {X: 1}, '')", `lib/db.yaml:1: template.parameters: Invalid value: unknown parameter name "X"`},
		{"std.native('template')('bad.yaml', {}, '')", `lib/bad.yaml:4: template.parameters[0]: Required value: template.parameters[0]: parameter P is required`},
		{"std.native('parseJson')('{')", "d/a.jsonnet:1: not valid JSON"},
		{"std.native('manifestJsonFromJson')('{}', -1)", "an indentation of 0 to 32"},
		{"std.native('sha256')(3)", "sha256: str must be a string"},
		{"std.native('lockedImage')(3)", "lockedImage: the tag must be a string"},
		{"import 'evil/a.jsonnet'", "no such file"},
		{"std.extVar('x')", "Undefined external variable: x"},
		{"(function(x) x)(import 'sub/up.libsonnet') + {a: error std.repeat('x', 100000)}", " … (cut)"},
	} {
		tree["d/a.jsonnet"] = c.in
		_, problems := New(tree, map[string]string{"n": "many"}).Evaluate("d/a.jsonnet")
		if got := problems.Error(); !strings.Contains(got, c.want) || strings.Contains(got, "canary") {
			t.Errorf("%s: got %q, want %q", c.in, got, c.want)
		}
	}
}

// Every constructor makes an object that its Go type takes without a field too many, and
// there is one for every kind that a repository may hold.
func TestLibraryHasEveryKind(t *testing.T) {
	source, err := os.ReadFile("testdata/every-kind.jsonnet")
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := New(files{"every-kind.jsonnet": string(source)}, nil).Evaluate("every-kind.jsonnet")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	missing := map[string]bool{}
	for _, k := range api.Kinds() {
		missing[k.Kind] = !k.Runtime
	}
	for _, d := range docs {
		u := &unstructured.Unstructured{Object: d.Object}
		typed, err := api.Scheme().New(u.GroupVersionKind())
		if err != nil {
			t.Error(err)
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(d.Object, typed, true); err != nil {
			t.Errorf("%s: %v", api.ObjectName(u), err)
		}
		missing[u.GetKind()] = false
	}
	var left []string
	for k, m := range missing {
		if m {
			left = append(left, k)
		}
	}
	sort.Strings(left)
	if len(left) > 0 {
		t.Errorf("slipway.libsonnet has no constructor for %v", left)
	}
	golden(t, "testdata/every-kind.golden.json", docs)
}

// golden compares with a file, or writes it if SLIPWAY_GOLDEN=write.
func golden(t *testing.T, file string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if os.Getenv("SLIPWAY_GOLDEN") == "write" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != string(got) {
		t.Errorf("%s: differs from what was made (%v); SLIPWAY_GOLDEN=write go test writes it\n%s", file, err, got)
	}
}
