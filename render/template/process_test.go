package template

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func parse(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := utiljson.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestObjects: one object in, one object out, with A=one, N=3, J={"k":[1]}, E empty, R=${A}, Q a quote and a newline.
func TestObjects(t *testing.T) {
	const parameters = `[{"name":"A","value":"one"},{"name":"N","value":"3"},{"name":"J","value":"{\"k\":[1]}"},
		{"name":"E"},{"name":"R","value":"${A}"},{"name":"Q","value":"\"\n'"},{"name":"BIG","value":"9007199254740993"},
		{"name":"K","value":"DeploymentConfig"}]`
	for _, c := range []struct{ name, in, out string }{
		{"anywhere and several times", `{"a":"x${A}y${A}${N}"}`, `{"a":"xoneyone3"}`},
		{"in a key", `{"a":{"k-${A}":"${N}"}}`, `{"a":{"k-one":"3"}}`},
		{"in a list", `{"a":["${A}",["${{N}}"]]}`, `{"a":["one",[3]]}`},
		{"unknown stays", `{"a":"${NOPE} ${{NOPE}}","b":"${{NOPE}}"}`, `{"a":"${NOPE} ${{NOPE}}","b":"${{NOPE}}"}`},
		{"two dollars", `{"a":"$${A}"}`, `{"a":"$one"}`},
		{"empty value", `{"a":"[${E}]"}`, `{"a":"[]"}`},
		{"a number", `{"a":"${{N}}"}`, `{"a":3}`},
		{"an object", `{"a":"${{J}}"}`, `{"a":{"k":[1]}}`},
		{"not JSON stays text", `{"a":"${{A}}"}`, `{"a":"one"}`},
		{"only as the whole value", `{"a":"a${{N}}"}`, `{"a":"a${{N}}"}`},
		{"values are not searched again", `{"a":"${R}"}`, `{"a":"${A}"}`},
		{"quotes and newlines", `{"a":"${Q}"}`, `{"a":"\"\n'"}`},
		{"precision", `{"a":9007199254740993,"b":"${{BIG}}"}`, `{"a":9007199254740993,"b":9007199254740993}`},
		{"namespace is stripped", `{"metadata":{"name":"x","namespace":"other"}}`, `{"metadata":{"name":"x"}}`},
		{"namespace with a parameter", `{"metadata":{"namespace":"p-${A}"}}`, `{"metadata":{"namespace":"p-one"}}`},
		{"legacy kind", `{"apiVersion":"v1","kind":"Route"}`, `{"apiVersion":"route.openshift.io/v1","kind":"Route"}`},
		{"legacy kind out of a parameter", `{"apiVersion":"v1","kind":"${K}"}`, `{"apiVersion":"apps.openshift.io/v1","kind":"DeploymentConfig"}`},
		{"legacy role binding", `{"apiVersion":"v1","kind":"RoleBinding"}`, `{"apiVersion":"authorization.openshift.io/v1","kind":"RoleBinding"}`},
		{"unknown kind", `{"apiVersion":"example.com/v9","kind":"Thing","a":"${A}"}`, `{"apiVersion":"example.com/v9","kind":"Thing","a":"one"}`},
		{"genuine v1 kind", `{"apiVersion":"v1","kind":"Service"}`, `{"apiVersion":"v1","kind":"Service"}`},
	} {
		template := parse(t, `{"objects":[`+c.in+`],"parameters":`+parameters+`}`)
		before, _ := json.Marshal(template)
		got, errs := Process(template, nil, Options{})
		if len(errs) > 0 {
			t.Errorf("%s: %v", c.name, errs)
			continue
		}
		if want := parse(t, c.out); !reflect.DeepEqual(got.Objects[0].Object, want) {
			t.Errorf("%s: got %v, want %v", c.name, got.Objects[0].Object, want)
		}
		if after, _ := json.Marshal(template); string(after) != string(before) {
			t.Errorf("%s: the template was changed", c.name)
		}
	}
}

func TestLabelsAndMessage(t *testing.T) {
	template := parse(t, `{"message":"hello ${A}","labels":{"app-${A}":"${A}","x":"template"},"parameters":[{"name":"A","value":"a"}],
		"objects":[{"kind":"X","metadata":{"labels":{"x":"own","y":"own"}},"spec":{"template":{"metadata":{"labels":{"y":"pod"}}}}}]}`)
	got, errs := Process(template, nil, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if got.Message != "hello a" {
		t.Errorf("message %q", got.Message)
	}
	if want := map[string]string{"app-a": "a", "x": "template", "y": "own"}; !reflect.DeepEqual(got.Objects[0].GetLabels(), want) {
		t.Errorf("labels %v", got.Objects[0].GetLabels())
	}
	pod := got.Objects[0].Object["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["labels"]
	if !reflect.DeepEqual(pod, map[string]any{"y": "pod"}) {
		t.Errorf("a template's labels entered the pod template: %v", pod)
	}
	if list := got.List(); list.GetKind() != "List" || len(list.Object["items"].([]any)) != 1 {
		t.Errorf("list: %v", list)
	}
}

func TestParameters(t *testing.T) {
	for _, c := range []struct {
		name, parameters string
		given            map[string]string
		want             map[string]string
		err              string
	}{
		{"own value", `[{"name":"A","value":"x","generate":"expression","from":"[a-z]{8}"}]`, nil, map[string]string{"A": "x"}, ""},
		{"given value", `[{"name":"A","value":"x","generate":"expression","from":"[a-z]{8}"}]`, map[string]string{"A": "y"}, map[string]string{"A": "y"}, ""},
		{"given empty value clears generate", `[{"name":"A","generate":"expression","from":"[a-z]{8}"}]`, map[string]string{"A": ""}, map[string]string{"A": ""}, ""},
		{"generated", `[{"name":"A","generate":"expression","from":"[a-a]{4}"}]`, nil, map[string]string{"A": "aaaa"}, ""},
		{"optional", `[{"name":"A"}]`, nil, map[string]string{"A": ""}, ""},
		{"required", `[{"name":"B"},{"name":"A","required":true}]`, nil, nil, "template.parameters[1]: parameter A is required and must be specified"},
		{"required, given empty", `[{"name":"A","required":true,"generate":"expression","from":"a"}]`, map[string]string{"A": ""}, nil, "parameter A is required"},
		{"generator", `[{"name":"A","generate":"magic"}]`, nil, nil, `template.parameters[0]: Invalid value: "magic": Unknown generator name 'magic' for parameter A`},
		{"expression", `[{"name":"A","generate":"expression","from":"[Z-A]{2}"}]`, nil, nil, "invalid range specified: Z-A"},
		{"unknown", `[]`, map[string]string{"x": "1"}, nil, `unknown parameter name "x"`},
		{"name", `[{"name":"a-b"}]`, nil, nil, "template.parameters[0].name"},
		{"twice", `[{"name":"A"},{"name":"A"}]`, nil, nil, "template.parameters[1].name: Duplicate value"},
		{"type confusion", `{"name":"A"}`, nil, nil, "parameters: Invalid value: has the wrong type"},
		{"value of a wrong type", `[{"name":"A","value":3}]`, nil, nil, "parameters: Invalid value: has the wrong type"},
	} {
		got, errs := Process(parse(t, `{"objects":[],"parameters":`+c.parameters+`}`), c.given, Options{})
		if c.err != "" {
			if len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.name, errs, c.err)
			}
			continue
		}
		if len(errs) > 0 || !reflect.DeepEqual(got.Values, c.want) {
			t.Errorf("%s: got %v, %v", c.name, got.Values, errs)
		}
	}
}

func TestBombsAndConfusion(t *testing.T) {
	refs := strings.Repeat("${A}", 1000)
	big := map[string]any{"parameters": []any{map[string]any{"name": "A", "value": strings.Repeat("x", 1<<20)}},
		"objects": []any{map[string]any{"a": refs}}}
	if _, errs := Process(big, nil, Options{}); len(errs) != 1 || !strings.Contains(errs[0].Error(), "larger than 32 MiB") {
		t.Errorf("bomb: %v", errs)
	}
	for _, in := range []string{`{"objects":{}}`, `{"objects":[1,"x",null]}`, `{"labels":{"a":"b"},"objects":[{"metadata":1}]}`,
		`{"labels":{"a":"b"},"objects":[{"metadata":{"labels":"x"}}]}`, `{"message":[]}`} {
		if _, errs := Process(parse(t, in), nil, Options{}); len(errs) == 0 {
			t.Errorf("%s is taken", in)
		}
	}
	if _, errs := Process(map[string]any{}, nil, Options{}); len(errs) > 0 {
		t.Errorf("an empty template: %v", errs)
	}
}

func TestParseParameters(t *testing.T) {
	got, err := ParseParameters([]string{"A=1", "B=x=y", "C="})
	if err != nil || !reflect.DeepEqual(got, map[string]string{"A": "1", "B": "x=y", "C": ""}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range [][]string{{"A"}, {"=1"}, {"A=1", "A=2"}} {
		if _, err := ParseParameters(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

func TestParseParameterFile(t *testing.T) {
	got, err := ParseParameterFile("f", strings.NewReader("\ufeff# a comment\r\nA=1\n\n export B = x=y # why\nC=\nD=\"a\\n\\\"b\\\" #no\" # yes\nE='$x\\n'\nF=a#b\nG: yaml\nH=#\n"))
	want := map[string]string{"A": "1", "B": "x=y", "C": "", "D": "a\n\"b\" #no", "E": `$x\n`, "F": "a#b", "G": "yaml", "H": ""}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for in, want := range map[string]string{
		"A=1\nB":     "f:2: want NAME=VALUE",
		"A='1":       "f:1: A: the quote is not closed",
		"A=\"1\" x":  "f:1: A: there is more after the closing quote",
		"A=1\n\nA=2": `f:3: parameter "A" is given twice`,
		"=1":         "f:1: want NAME=VALUE",
	} {
		if _, err := ParseParameterFile("f", strings.NewReader(in)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func TestWriteParameters(t *testing.T) {
	parameters, err := Parameters(parse(t, `{"parameters":[{"name":"NAME","description":"The name","value":"db","required":true},
		{"name":"PASSWORD","generate":"expression","from":"[a-z]{8}"}]}`))
	var b strings.Builder
	if err != nil || WriteParameters(&b, parameters) != nil {
		t.Fatal(err)
	}
	want := "NAME                DESCRIPTION         GENERATOR           VALUE\n" +
		"NAME                The name                                db\n" +
		"PASSWORD                                expression          [a-z]{8}\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

// FuzzProcess: any template and any value give objects or errors; nothing panics, nothing
// grows beyond its bound, and the template stays as it was.
func FuzzProcess(f *testing.F) {
	f.Add(`{"objects":[{"a":"${A}${{A}}","${A}":"$${A}"}],"parameters":[{"name":"A"}],"labels":{"x":"${A}"},"message":"${A}"}`, "A", `{"b":[1]}`)
	f.Add(`{"objects":[{"metadata":{"namespace":"${A}","labels":1}}],"labels":{"":""},"parameters":[{"name":"A","generate":"expression","from":"[a-z]{9}"}]}`, "B", "")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		var template map[string]any
		if utiljson.Unmarshal([]byte(text), &template) != nil || template == nil {
			return
		}
		before, err := json.Marshal(template)
		if err != nil {
			return
		}
		got, errs := Process(template, map[string]string{name: value}, Options{IgnoreUnknown: true})
		if len(errs) > 0 && got.Objects != nil {
			t.Error("objects beside errors")
		}
		if after, _ := json.Marshal(template); string(after) != string(before) {
			t.Error("the template was changed")
		}
	})
}

func FuzzParameterFile(f *testing.F) {
	f.Add("export A=\"x\\\"\n#\nB='")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := ParseParameterFile("f", strings.NewReader(text))
		for name := range values {
			if err != nil || name == "" {
				t.Errorf("%q beside %v", name, err)
			}
		}
	})
}
