package builder

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

var sampleChange = change{
	from:     "registry:5000/base@sha256:1",
	stages:   map[string]string{"tools": "registry:5000/tools@sha256:2", "build": "never: a stage has this name"},
	stageEnv: []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: `say "hi" for $5 \o/`}},
	env:      []corev1.EnvVar{{Name: "OPENSHIFT_BUILD_NAME", Value: "app-1"}},
	labels:   map[string]string{labelConfig: "p/app", "odd key": "v", "a": "b"},
}

func TestRewriteGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/dockerfiles/*.in")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, in := range files {
		data, err := os.ReadFile(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rewrite(data, sampleChange)
		if err != nil {
			got = []byte("error: " + err.Error() + "\n")
		}
		golden := strings.TrimSuffix(in, ".in") + ".out"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", in, got, want)
		}
	}
}

func TestRewriteWithoutChangesKeepsEveryLine(t *testing.T) {
	in := "# syntax\nARG V=1\nFROM a:$V AS b\nRUN x \\\n  y\n"
	got, err := rewrite([]byte(in), change{})
	if err != nil || string(got) != in {
		t.Errorf("%v: %q", err, got)
	}
}

func TestRewriteRefusesLineBreaks(t *testing.T) {
	_, err := rewrite([]byte("FROM a\n"), change{env: []corev1.EnvVar{{Name: "KEY", Value: "a\nRUN evil"}}})
	if err == nil || !strings.Contains(err.Error(), "KEY") {
		t.Error(err)
	}
}

// Whatever a Dockerfile holds, no instruction is lost, and none is made up besides those
// that are meant.
func FuzzRewrite(f *testing.F) {
	files, _ := filepath.Glob("testdata/dockerfiles/*.in")
	for _, in := range files {
		data, err := os.ReadFile(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "value")
	}
	f.Add("FROM a\nRUN b \\", `\`)
	f.Add("#escape=`\nFROM a", "`\"$x")
	f.Fuzz(func(t *testing.T, in, value string) {
		c := sampleChange
		c.env = []corev1.EnvVar{{Name: "X", Value: value}}
		out, err := rewrite([]byte(in), c)
		if err != nil {
			return
		}
		before, err := parser.Parse(strings.NewReader(in))
		if err != nil {
			t.Fatal("rewrote what does not parse")
		}
		after, err := parser.Parse(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		froms := 0
		for _, n := range before.AST.Children {
			if is(n, "FROM") {
				froms++
			}
		}
		if got, want := len(after.AST.Children), len(before.AST.Children)+2*froms+2; got != want {
			t.Fatalf("%d instructions, want %d in\n%s", got, want, out)
		}
		last := after.AST.Children[len(after.AST.Children)-2:]
		if !is(last[0], "ENV") || !is(last[1], "LABEL") {
			t.Fatalf("ends with %s and %s", last[0].Value, last[1].Value)
		}
	})
}
