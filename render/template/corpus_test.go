package template

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	templatev1 "github.com/openshift/api/template/v1"
	"github.com/openshift/library-go/pkg/template/generator"
	"github.com/openshift/library-go/pkg/template/templateprocessing"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// The corpus are templates in the shapes that OpenShift 3 came with: old JSON ones with
// group-less kinds, ones with every kind of reference, ones exported from a cluster.
func corpus(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.[jy]*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	out := map[string]map[string]any{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(file, err)
		}
		var m map[string]any
		if err := utiljson.Unmarshal(raw, &m); err != nil {
			t.Fatal(file, err)
		}
		out[filepath.Base(file)] = m
	}
	return out
}

// placeholders processes with values that are the same each time.
var placeholders = Options{Generated: func(_, expression string) (string, error) { return Placeholder(expression) }, Labels: map[string]string{"team": "blue"}}

// TestCorpus holds what the corpus processes to against files, for people to read.
func TestCorpus(t *testing.T) {
	for name, m := range corpus(t) {
		result, errs := Process(m, nil, placeholders)
		if len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
			continue
		}
		got, err := yaml.Marshal(map[string]any{"message": result.Message, "list": result.List().Object})
		if err != nil {
			t.Fatal(err)
		}
		golden := "testdata/processed/" + name + ".yaml"
		if os.Getenv("SLIPWAY_GOLDEN") == "write" {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s: differs from what it was processed to (%v); SLIPWAY_GOLDEN=write go test writes it", golden, err)
		}
	}
}

// TestCorpusAsUpstream: OpenShift's own processor makes the same of the same values.
func TestCorpusAsUpstream(t *testing.T) {
	for name, m := range corpus(t) {
		result, errs := Process(m, nil, placeholders)
		if len(errs) > 0 {
			t.Fatal(name, errs)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var their templatev1.Template
		if err := json.Unmarshal(raw, &their); err != nil {
			t.Fatal(name, err)
		}
		for i, p := range their.Parameters {
			their.Parameters[i].Value = result.Values[p.Name]
		}
		if their.ObjectLabels == nil {
			their.ObjectLabels = map[string]string{}
		}
		maps.Copy(their.ObjectLabels, placeholders.Labels)
		if errs := templateprocessing.NewProcessor(map[string]generator.Generator{}).Process(&their); len(errs) > 0 {
			t.Fatal(name, errs)
		}
		if their.Message != result.Message {
			t.Errorf("%s: message %q, upstream %q", name, result.Message, their.Message)
		}
		for i, o := range their.Objects {
			want, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Objects[i].Object; !reflect.DeepEqual(plain(t, got), plain(t, want)) {
				t.Errorf("%s: object %d:\n got %v\nwant %v", name, i, got, want)
			}
		}
	}
}

func plain(t *testing.T, v any) (out any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		err = utiljson.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
