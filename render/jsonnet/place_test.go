package jsonnet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The line that makes an object, and the lines of the fields that the file itself writes.
func TestPlacesOfObjects(t *testing.T) {
	lib := "{ map(name):: {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}}, all:: [self.map('x'), self.map('y')] }"
	for _, c := range []struct{ name, in, want string }{
		{"a literal", "\n{\n  apiVersion: 'v1', kind: 'ConfigMap',\n  data: {\n    a: [\n      1,\n      2] } }",
			"ConfigMap@2 apiVersion=3 data=4 data.a=5 data.a[0]=6 data.a[1]=7 kind=3"},
		{"an array", "[\n  {apiVersion: 'v1', kind: 'A'},\n  (import 'lib.libsonnet').map('x'),\n]", "A@2 apiVersion=2 kind=2; ConfigMap@3"},
		{"behind names", "local l = import 'lib.libsonnet';\nlocal one = {\n  apiVersion: 'v1', kind: 'A' };\nlocal two = one;\nlocal x = {\n  n: l.map('z') };\n{ a: two,\n  b: [x.n, l.map('x')],\n  c+: l.map('y'),\n}",
			"A@7 apiVersion=3 kind=3; ConfigMap@8; ConfigMap@8; ConfigMap@9"},
		{"laid over", "local l = import 'lib.libsonnet';\nl.map('x') + {\n  data: {\n    a: 'b' } }\n+ { data+: {\n c: 'd' } }", "ConfigMap@2 data=5 data.a=4 data.c=6"},
		{"sums", "local l = import 'lib.libsonnet';\n{ a: l.map('x') } + {\n  b: l.map('y'),\n  c: [\n    l.map('z') ] + [\n    l.map('w')] }", "ConfigMap@2; ConfigMap@3; ConfigMap@5; ConfigMap@6"},
		{"what is computed", "local l = import 'lib.libsonnet';\n\n[\n  l.map('a' + i)\n  for i in std.range(1, 2)\n]", "ConfigMap@3; ConfigMap@3"},
		{"imported whole", "\n(import 'lib.libsonnet').all", "ConfigMap@2; ConfigMap@2"},
		{"a function", "function(x='y')\n  [\n    {apiVersion: 'v1', kind: x}]", "y@3 apiVersion=3 kind=3"},
		{"a list", "{kind: 'List', apiVersion: 'v1', items: [\n  {apiVersion: 'v1', kind: 'A'},\n]}", "A@2 apiVersion=2 kind=2"},
		{"names of names", "local a = {x:: a, apiVersion: 'v1', kind: 'A', y: b}, b = {z: c, w:: a}, c = {n: 1};\n\na", "A@3 apiVersion=1 kind=1 y=1 y.z=1 y.z.n=1"},
	} {
		docs, problems := New(files{"a.jsonnet": c.in, "lib/lib.libsonnet": lib}, nil).Evaluate("a.jsonnet")
		var got []string
		for _, d := range docs {
			one := fmt.Sprintf("%s@%d", d.Object["kind"], d.Line)
			for _, at := range slices.Sorted(maps.Keys(d.Lines)) {
				one += fmt.Sprintf(" %s=%d", at, d.Lines[at])
			}
			got = append(got, one)
		}
		if strings.Join(got, "; ") != c.want || len(problems) > 0 {
			t.Errorf("%s: got %s, %v\nwant %s", c.name, strings.Join(got, "; "), problems, c.want)
		}
	}
	var b strings.Builder
	b.WriteString("local a0 = {x: 1};\n")
	for i := range 30 {
		fmt.Fprintf(&b, "local a%d = {x:: a%d, y:: a%d, z: [a%d, a%d][5:]};\n", i+1, i, i, i, i)
	}
	b.WriteString("{apiVersion: 'v1', kind: 'A', a: a30 }")
	if docs, problems := New(files{"a.jsonnet": b.String()}, nil).Evaluate("a.jsonnet"); len(docs) != 1 || docs[0].Line != 32 || len(problems) > 0 {
		t.Errorf("got %v, %v", docs, problems)
	}
}
