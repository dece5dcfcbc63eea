package render_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render"
)

// configMap is a ConfigMap with more under data.
func configMap(data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bomb\ndata:\n" + data
}

// aliases is ten to the power of levels, written down in a few lines.
func aliases(levels int, first, open, end string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  a0: &a0 %s\n", first)
	for i := range levels {
		fmt.Fprintf(&b, "  a%d: &a%d %s%s%s\n", i+1, i+1, open, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","), end)
	}
	return b.String()
}

func manyDocuments(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a%d}}\n", i)
	}
	return b.String()
}

// Bad input of every kind: want is what its problem says after the file's name; empty for
// what is odd but right, and gives objects.
var bombs = []struct{ name, file, text, want string }{
	{"alias bomb", "b.yaml", configMap(aliases(9, "[x,x,x,x,x,x,x,x,x,x]", "[", "]")), "once its aliases are unfolded"},
	{"merge bomb", "b.yaml", configMap(aliases(9, "{x: y}", "{<<: [", "]}")), "once its aliases are unfolded"},
	{"alias of itself", "b.yaml", configMap("  a: &a [*a]\n"), "alias *a holds itself"},
	{"merge of itself", "b.yaml", configMap("  a: &a\n    <<: *a\n"), "holds itself"},
	{"merge of a text", "b.yaml", configMap("  <<: text\n"), "<< takes a mapping"},
	{"deep YAML", "b.yaml", configMap("  a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n"), "nests deeper than 200 levels"},
	{"deep JSON", "b.json", strings.Repeat(`{"a":`, 100_000), "nests deeper than 200 levels"},
	{"key given twice", "b.yaml", configMap("  a: x\n  b: y\n  a: z\n"), ":8: configmap/bomb: data.a: is given twice: first on line 6"},
	{"key given twice in JSON", "b.json", `{"kind": "ConfigMap", "kind": "Secret"}`, "kind: is given twice"},
	{"keys of different case", "b.yaml", "apiVersion: v1\nkind: ConfigMap\nKind: Secret\nmetadata: {name: bomb}\n", "Kind"},
	{"field of another case", "b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {Name: bomb}\n", "Name"},
	{"custom tag", "b.yaml", configMap("  a: !!python/object/apply:os.system [true]\n"), "tag !!python/object/apply:os.system is not allowed"},
	{"local tag", "b.yaml", configMap("  a: !include /etc/passwd\n"), "tag !include is not allowed"},
	{"huge integer", "b.yaml", configMap("  a: 99999999999999999999\n"), "integer 99999999999999999999 is out of range"},
	{"huge exponent", "b.yaml", configMap("  a: 1e400\n"), "number 1e400 is out of range"},
	{"huge exponent in JSON", "b.json", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 1e400}}`, "1e400 is not a valid"},
	{"not a number", "b.yaml", configMap("  a: .nan\n"), ".nan is not a number that JSON has"},
	{"endless number", "b.yaml", configMap("  a: -.inf\n"), "-.inf is not a number that JSON has"},
	{"octal for text", "b.yaml", configMap("  a: 0o17\n"), "data[a]: Invalid value"},
	{"NO is text", "b.yaml", configMap("  a: NO\n  b: off\n  c: yes\n"), ""},
	{"byte order mark", "b.yaml", "\xef\xbb\xbf" + configMap("  a: x\n"), ""},
	{"CRLF", "b.yaml", strings.ReplaceAll(configMap("  a: x\n"), "\n", "\r\n"), ""},
	{"empty file", "b.yaml", "", ""},
	{"empty documents", "b.yaml", "---\n---\n# nothing\n---\n" + configMap("  a: x\n") + "---\n", ""},
	{"UTF-16", "b.yaml", "\xff\xfek\x00i\x00n\x00d\x00", ":1: is UTF-16"},
	{"UTF-16, the other way round", "b.json", "\xfe\xff\x00{\x00}", ":1: is UTF-16"},
	{"not UTF-8", "b.yaml", configMap("  a: \xc3\x28\n"), ":6: is not valid UTF-8"},
	{"NUL", "b.yaml", configMap("  a: \x00\n"), ":6: holds a NUL byte"},
	{"too many documents", "b.yaml", manyDocuments(10_001), "holds more than 10000 documents"},
	{"scalar of 10 MB", "b.yaml", configMap("  a: " + strings.Repeat("x", 10<<20) + "\n"), "is larger than 8 MiB"},
	{"a list for an object", "b.yaml", "- a\n- b\n", "is a list, not an object"},

	{"nested parentheses", "b.jsonnet", strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000), "too deeply"},
	{"nested arrays", "b.jsonnet", strings.Repeat("[", 200_000), "too deeply"},
	{"tail recursion", "b.jsonnet", "local f(x) = f(x + 1) tailstrict; f(0)", "evaluating it "},
	{"exponential recursion", "b.jsonnet", "local f(n) = if n < 2 then 1 else f(n - 1) + f(n - 2); f(45)", "of processor time"},
	{"endless recursion", "b.jsonnet", "local f(x) = f(x + 1); f(0)", "max stack frames exceeded"},
	{"doubling fold", "b.jsonnet", "std.foldl(function(a, b) a + a, std.range(1, 40), 'x')", "of memory"},
	{"huge range", "b.jsonnet", "std.range(1, 1e9)", "evaluating it "},
	{"wide format", "b.jsonnet", "'%999999999d' % 1", "max stack frames exceeded"},
	{"wide format of an object", "b.jsonnet", "'%(a)999999999s' % {a: 1}", "max stack frames exceeded"},
	{"huge repetition", "b.jsonnet", "std.repeat('x', 1e10)", "Expected an integer"},
	{"import of itself", "b.jsonnet", "import 'b.jsonnet'", "max stack frames exceeded"},
	{"imports in a circle", "b.jsonnet", "import 'circle.libsonnet'", "max stack frames exceeded"},
	{"absolute import", "b.jsonnet", "import '/etc/passwd'", "absolute paths are not allowed"},
	{"import of a device", "b.jsonnet", "importbin '/dev/zero'", "absolute paths are not allowed"},
	{"import from above", "b.jsonnet", "importstr '../../../../etc/passwd'", "the path leaves the repository"},
	{"import of a link", "b.jsonnet", "importstr 'link.libsonnet'", "is a symbolic link"},
	{"import of a fifo", "b.jsonnet", "importstr 'fifo.libsonnet'", "is not a regular file"},
	{"huge error", "b.jsonnet", "error std.repeat('x', 100000)", "… (cut)"},
	{"no object", "b.jsonnet", "'text'", "is a string where an object is expected"},
	{"a function", "b.jsonnet", "{a: function(x) x}", "couldn't manifest function as JSON"},
	{"a function that wants more", "b.jsonnet", "function(missing) {}", "needs parameter missing"},
	{"100,000 objects", "b.jsonnet", "[{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a' + i}} for i in std.range(1, 100000)]", "evaluating it"},
	{"large result", "b.jsonnet", "local big = std.repeat('x', 50000); [{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a' + i}, data: {a: big}} for i in std.range(1, 100)]", "larger than the limit of 4 MiB"},
	{"deep result", "b.jsonnet", "std.foldl(function(a, b) [a], std.range(1, 2000), {})", "max stack frames exceeded"},
	{"not Jsonnet", "b.jsonnet", "\xff\xfe\x00", "b.jsonnet"},
	{"native of another", "b.jsonnet", "std.native('exec')('id')", "b.jsonnet"},
	{"file of the machine by trace", "b.jsonnet", "std.extVar('HOME')", "Undefined external variable"},
}

// Each is a mistake of its file, told within the limits; the file before it and the one
// after it are looked at all the same, and other applications are not touched.
func TestBombs(t *testing.T) {
	r := newRenderer(t, render.Options{Limits: render.Limits{Memory: hunger * 96 << 20, CPU: hunger * time.Second, Wall: 2 * time.Minute, Output: 4 << 20}})
	for _, c := range bombs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := tree(map[string]string{
				"app/a.yaml": fmt.Sprintf(serviceYAML, "web"), "app/" + c.file: c.text, "app/c.yaml": "kind: [\n",
				"app/circle.libsonnet": "import 'circle2.libsonnet'", "app/circle2.libsonnet": "import 'circle.libsonnet'",
				"other/o.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'other'}}",
			})
			files["lib/link.libsonnet"] = &fstest.MapFile{Data: []byte("canary"), Mode: fs.ModeSymlink}
			files["lib/fifo.libsonnet"] = &fstest.MapFile{Data: []byte("canary"), Mode: fs.ModeNamedPipe}
			neighbour := make(chan error)
			go func() {
				d, err := r.Render(t.Context(), render.Request{Tree: files, Path: "other", Project: "shop", Application: "other/" + c.name})
				if err == nil && len(d.Objects) != 1 {
					err = fmt.Errorf("%d objects", len(d.Objects))
				}
				neighbour <- err
			}()
			_, err := r.Render(t.Context(), render.Request{Tree: files, Path: "app", Project: "shop", Application: "a/" + c.name})
			if err := <-neighbour; err != nil {
				t.Errorf("the other application: %v", err)
			}
			var problems api.Problems
			if !errors.As(err, &problems) || len(err.Error()) > 8000 || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
			var own, after int
			for _, p := range problems {
				text := api.ProblemString(p)
				switch {
				case p.File == "app/c.yaml":
					after++
				case strings.HasPrefix(p.File, "app/") && strings.Contains(text, c.want):
					own++
				case p.File != "app/"+c.file:
					t.Errorf("a mistake of no file: %s", text)
				}
			}
			if after != 1 || (own > 0) != (c.want != "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
