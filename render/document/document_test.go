package document

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"slipway.dev/slipway/api"
)

func text(problems api.Problems) string {
	if len(problems) == 0 {
		return ""
	}
	return problems.Error()
}

func TestPlacesOfFields(t *testing.T) {
	for _, c := range []struct{ file, data string }{
		{"a.yaml", "# a comment\nkind: X\nspec:\n  containers:\n  - name: a\n    image: b\n  - name: c\n"},
		{"a.json", "\n{\"kind\": \"X\",\n\"spec\": {\n\"containers\": [\n{\"name\": \"a\",\n\"image\": \"b\"},\n{\"name\": \"c\"}]}}"},
	} {
		docs, problems := Parse(c.file, []byte(c.data))
		if len(problems) > 0 || len(docs) != 1 {
			t.Fatalf("%s: %d documents, %v", c.file, len(docs), problems)
		}
		want := map[string]int{
			"kind": 2, "spec": 3, "spec.containers": 4, "spec.containers[0]": 5, "spec.containers[0].name": 5,
			"spec.containers[0].image": 6, "spec.containers[1]": 7, "spec.containers[1].name": 7,
		}
		if docs[0].Line != 2 || !reflect.DeepEqual(docs[0].Lines, want) {
			t.Errorf("%s: line %d, fields %v", c.file, docs[0].Line, docs[0].Lines)
		}
	}
}

func TestDocumentsAndLists(t *testing.T) {
	in := "%YAML 1.1\n---\nkind: A\n---\n# nothing\n---\nkind: List\napiVersion: v1\nitems:\n- kind: B\n- kind: C\n  metadata: {name: c}\n...\n---\nkind: ConfigMapList\napiVersion: v1\nitems:\n- metadata: {name: d}\n"
	docs, problems := Parse("a.yml", []byte(strings.ReplaceAll(in, "\n", "\r\n")))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, d := range docs {
		got = append(got, fmt.Sprintf("%v@%d", d.Object["kind"], d.Line))
	}
	if want := []string{"A@3", "B@10", "C@11", "ConfigMap@18"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if docs[2].Lines["metadata.name"] != 12 {
		t.Errorf("an item's fields are not counted from the item: %v", docs[2].Lines)
	}
}

func TestMistakes(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for _, c := range []struct{ name, file, data, want string }{
		{"duplicate key", "a.yaml", "kind: A\nmetadata:\n  name: x\nspec:\n  a: 1\n  b: 2\n  a: 3\n", "a.yaml:7: a/x: spec.a: is given twice: first on line 5"},
		{"duplicate key in JSON", "a.json", "{\"kind\": \"A\",\n\"kind\": \"B\"}", "a.json:2: a: kind: is given twice: first on line 1"},
		{"every syntax error", "a.yaml", "kind: [\n---\nkind: B\n---\n\nkind: }\n", "a.yaml:1: not valid YAML: did not find expected node content\na.yaml:6: not valid YAML: did not find expected node content"},
		{"bad indentation", "a.yaml", "kind: A\nspec:\n  list: [1,\n    2]\n  a: 1\n   b: 2\n  c: 3\n", "a.yaml:6: not valid YAML: mapping values"},
		{"no value", "a.yaml", "kind: A\nspec:\n  a: 1\n  b\n  c: 3\n", "a.yaml:4: not valid YAML: "},
		{"alias bomb", "a.yaml", bomb, "once its aliases are unfolded"},
		{"merge bomb", "a.yaml", strings.NewReplacer("[x,x,x,x,x,x,x,x,x,x]", "{x: 1}", "[*", "{<<: [*", "]\n", "]}\n").Replace(bomb), "once its aliases are unfolded"},
		{"alias of itself", "a.yaml", "kind: A\nspec: &s\n  a: *s\n", "a.yaml:3: a: spec.a.a: alias *s holds itself"},
		{"merge of itself", "a.yaml", "kind: A\nspec: &s\n  <<: *s\n", "holds itself"},
		{"custom tag", "a.yaml", "kind: A\nspec: !!python/object {a: 1}\n", "a.yaml:2: a: spec: tag !!python/object is not allowed"},
		{"binary", "a.yaml", "kind: A\nspec: !!binary aGk=\n", "a.yaml:2: a: spec: tag !!binary is not allowed"},
		{"NaN", "a.yaml", "kind: A\nspec: .nan\n", "a.yaml:2: a: spec: .nan is not a number that JSON has"},
		{"huge integer", "a.yaml", "kind: A\nspec: 99999999999999999999\n", "a.yaml:2: a: spec: integer 99999999999999999999 is out of range"},
		{"unsigned", "a.yaml", "kind: A\nspec: 18446744073709551615\n", "integer 18446744073709551615 is out of range"},
		{"huge exponent", "a.yaml", "kind: A\nspec: 1e400\n", "a.yaml:2: a: spec: number 1e400 is out of range"},
		{"huge exponent in JSON", "a.json", `{"kind": "A", "spec": 1e400}`, "1e400 is not a valid float"},
		{"NUL", "a.yaml", "kind: A\n\x00", "a.yaml:2: holds a NUL byte: it is not a text file"},
		{"UTF-16", "a.yaml", "\xff\xfek\x00", "a.yaml:1: is UTF-16: save it as UTF-8"},
		{"not UTF-8", "a.yaml", "kind: A\nb: \xc3\x28\n", "a.yaml:2: is not valid UTF-8"},
		{"scalar", "a.yaml", "hello\n", `a.yaml:1: is the text "hello", not an object`},
		{"null key", "a.yaml", "kind: A\n~: 1\n", "a.yaml:2: a: a key must be text, not null"},
		{"list in a list", "a.yaml", "kind: List\nitems:\n- 1\n", "a.yaml:3: items[0]: is a number, not an object"},
		{"deep", "a.json", strings.Repeat("[", 5000), "nests deeper than 200 levels"},
		{"deep YAML", "a.yaml", "kind: A\nspec: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nests deeper than 200 levels"},
		{"cut JSON", "a.json", "{\n\"kind\":", "a.json:2: not valid JSON: it ends too early"},
		{"bad JSON", "a.json", "{\n\"kind\" 1}", "a.json:2: not valid JSON"},
		{"more JSON", "a.json", "{}\n{}", "a.json:2: not valid JSON: there is more"},
		{"unknown alias", "a.yaml", "kind: A\n---\nkind: *x\n", "a.yaml:3: not valid YAML: unknown anchor 'x' referenced"},
	} {
		_, problems := Parse(c.file, []byte(c.data))
		if got := text(problems); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if len(problems) > 2 {
			t.Errorf("%s: %d problems", c.name, len(problems))
		}
	}
}

func TestValues(t *testing.T) {
	in := "\xef\xbb\xbfkind: A\nspec: {country: NO, mode: 0644, big: 9223372036854775807, date: 2024-01-01, 1: one, true: yes}\nbase: &b {x: 1, y: 2}\nderived: {<<: *b, y: 3}\n"
	docs, problems := Parse("a.yaml", []byte(in))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	raw, err := json.Marshal(docs[0])
	if err != nil {
		t.Fatal(err)
	}
	var back Document
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	want := Object{
		"kind":    "A",
		"spec":    map[string]any{"country": "NO", "mode": int64(0o644), "big": int64(9223372036854775807), "date": "2024-01-01", "1": "one", "true": "yes"},
		"base":    map[string]any{"x": int64(1), "y": int64(2)},
		"derived": map[string]any{"x": int64(1), "y": int64(3)},
	}
	if !reflect.DeepEqual(back.Object, want) {
		t.Errorf("got %#v", back.Object)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a: &a [*a]\n---\n<<: {b: 1}\n", false)
	f.Add("%TAG ! x\n---\n- |\n  ---\n...\n", false)
	f.Add(`{"kind":"List","items":[{"a":1e5},[[]]]}`, true)
	f.Fuzz(func(t *testing.T, data string, isJSON bool) {
		file := "f.yaml"
		if isJSON {
			file = "f.json"
		}
		docs, problems := Parse(file, []byte(data))
		lines := 1 // YAML has more line breaks than one.
		for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += strings.Count(data, lineBreak)
		}
		for _, p := range problems {
			if p.Line < 0 || p.Line > lines+1 || p.Message == "" {
				t.Errorf("problem outside of the file's %d lines: %+v", lines, p)
			}
		}
		for _, d := range docs {
			if _, err := json.Marshal(d); err != nil {
				t.Errorf("a document cannot be written as JSON: %v", err)
			}
		}
	})
}
