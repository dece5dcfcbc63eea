package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// compile reads a schema as any validator would: from its text.
func compile(t testing.TB, d Document) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func all(t testing.TB) *jsonschema.Schema {
	t.Helper()
	d, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, d)
}

// plain is a value as a JSON decoder of a validator has it.
func plain(t testing.TB, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// everyKind is an object of each kind, as the library's constructors make them.
func everyKind(t testing.TB) []map[string]any {
	t.Helper()
	data, err := os.ReadFile("../jsonnet/testdata/every-kind.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var docs []document.Document
	if err := json.Unmarshal(data, &docs); err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for _, d := range docs {
		out = append(out, d.Object)
	}
	return out
}

func TestEveryKindHasASchema(t *testing.T) {
	combined, seen := all(t), map[string]bool{}
	for _, o := range everyKind(t) {
		kind := o["kind"].(string)
		k, ok := api.KindNamed(kind)
		if !ok {
			t.Fatal(kind)
		}
		d, err := Of(k)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*jsonschema.Schema{compile(t, d), combined} {
			if err := s.Validate(plain(t, o)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		seen[kind] = true
	}
	for _, k := range Kinds() {
		if !seen[k.Kind] {
			t.Errorf("%s is not tried", k.Kind)
		}
	}
}

// The examples, encrypted files, and legacy templates are valid.
func TestExamplesAreValid(t *testing.T) {
	s, checked := all(t), 0
	for _, dir := range []string{"../../examples", "../template/testdata/corpus", "../secrets/testdata/sealed"} {
		err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".json") || strings.HasSuffix(name, "images.lock.json") {
				return err
			}
			data, err := fs.ReadFile(os.DirFS(dir), name)
			if err != nil {
				return err
			}
			docs, problems := document.Parse(name, data)
			if len(problems) > 0 {
				return problems
			}
			for _, d := range docs {
				if d.Sealed != nil && name != "secret.yaml" && name != "documents.yaml" {
					continue // The others hold what no Secret does.
				}
				checked++
				if err := s.Validate(plain(t, d.Object)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 15 {
		t.Errorf("only %d objects were checked", checked)
	}
}

func TestBrokenObjectsAreInvalid(t *testing.T) {
	s := all(t)
	const service = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":%s}`
	for name, text := range map[string]string{
		"unknown field":     fmt.Sprintf(service, `{"selektor":{}}`),
		"in a list":         fmt.Sprintf(service, `{"ports":[{"port":1,"potr":2}]}`),
		"wrong type":        fmt.Sprintf(service, `{"ports":[{"port":"80"}]}`),
		"list for object":   fmt.Sprintf(service, `{"selector":[]}`),
		"number for text":   fmt.Sprintf(service, `{"selector":{"a":1}}`),
		"fraction":          fmt.Sprintf(service, `{"ports":[{"port":1.5}]}`),
		"unknown kind":      `{"apiVersion":"v1","kind":"Servise","metadata":{"name":"a"}}`,
		"no kind":           `{"apiVersion":"v1","metadata":{"name":"a"}}`,
		"no name":           `{"apiVersion":"v1","kind":"Service","metadata":{}}`,
		"no metadata":       `{"apiVersion":"v1","kind":"Service"}`,
		"runtime kind":      `{"apiVersion":"build.openshift.io/v1","kind":"Build","metadata":{"name":"a"}}`,
		"at the top":        `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dta":{}}`,
		"in a List":         `{"apiVersion":"v1","kind":"List","items":[` + fmt.Sprintf(service, `{"selektor":{}}`) + `]}`,
		"a time":            `{"apiVersion":"slipway.dev/v1alpha1","kind":"Application","metadata":{"name":"a"},"spec":{"suspendUntil":3}}`,
		"application's own": `{"apiVersion":"slipway.dev/v1alpha1","kind":"Application","metadata":{"name":"a"},"spec":{"pth":"x"}}`,
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(v) == nil {
			t.Errorf("%s: valid: %s", name, text)
		}
	}
}

// Wherever an object of a Go type stands, the schema refuses a field too many, as the
// check of the server does.
func TestUnknownFieldsAnywhere(t *testing.T) {
	s, tried := all(t), 0
	for _, o := range everyKind(t) {
		eachObject(o, func(in map[string]any) {
			in["unknownField"] = "x"
			defer delete(in, "unknownField")
			refused := strings.Contains(fmt.Sprint(api.Check(&unstructured.Unstructured{Object: o})), "unknown field")
			if invalid := s.Validate(plain(t, o)) != nil; invalid != refused {
				t.Errorf("%s: refused by the check %v, by the schema %v: %v", o["kind"], refused, invalid, in)
			}
			tried++
		})
	}
	if tried < 100 {
		t.Errorf("only %d places were tried", tried)
	}
}

func eachObject(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, one := range v {
			eachObject(one, visit)
		}
	case []any:
		for _, one := range v {
			eachObject(one, visit)
		}
	}
}

func TestDescriptions(t *testing.T) {
	d, err := All()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Path in the repository; default: its root."; !strings.Contains(string(raw), want) {
		t.Errorf("an own kind's comment is not in it: %q", want)
	}
	for _, name := range []string{"DeploymentConfig", "Route", "Service", "Application"} {
		if about, _ := d["$defs"].(Document)[name].(Document)["description"].(string); len(about) < 20 {
			t.Errorf("%s is described as %q", name, about)
		}
	}
}

func TestLock(t *testing.T) {
	s := compile(t, OfLock())
	data, err := os.ReadFile("../../examples/shop-config/projects/shop-prod/images.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var good any
	if err := utiljson.Unmarshal(data, &good); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(plain(t, good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []any{map[string]any{}, map[string]any{"images": map[string]any{"a:b": map[string]any{"form": "x"}}}} {
		if s.Validate(plain(t, bad)) == nil {
			t.Errorf("valid: %v", bad)
		}
	}
}
