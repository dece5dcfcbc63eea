package builder

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	corev1 "k8s.io/api/core/v1"
)

// rewrite changes a Dockerfile as OpenShift does: `from`, where given, replaces the
// image of the last stage; the environment follows every FROM, so that RUN steps see
// it; the labels end the file. Everything else stays as it was written.
func rewrite(dockerfile []byte, from string, env []corev1.EnvVar, labels map[string]string) ([]byte, error) {
	res, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil, err
	}
	type span struct {
		first, last int
		node        *parser.Node
	}
	var froms []span
	for _, n := range res.AST.Children {
		if strings.EqualFold(n.Value, "FROM") {
			froms = append(froms, span{n.StartLine, n.EndLine, n})
		}
	}
	if len(froms) == 0 {
		return nil, fmt.Errorf("has no FROM")
	}
	lines := strings.Split(strings.TrimRight(string(dockerfile), "\n"), "\n")
	var out []string
	next := 1
	for i, f := range froms {
		out = append(out, lines[next-1:f.first-1]...)
		if from != "" && i == len(froms)-1 {
			out = append(out, fromLine(f.node, from))
		} else {
			out = append(out, lines[f.first-1:f.last]...)
		}
		out = append(out, envLines(env)...)
		next = f.last + 1
	}
	out = append(out, lines[next-1:]...)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, fmt.Sprintf("LABEL %s=%s", quote(k), quote(labels[k])))
	}
	return []byte(strings.Join(out, "\n") + "\n"), nil
}

// fromLine is a FROM with another image, its flags and stage name kept.
func fromLine(n *parser.Node, image string) string {
	parts := append([]string{"FROM"}, n.Flags...)
	parts = append(parts, image)
	if n.Next != nil {
		for arg := n.Next.Next; arg != nil; arg = arg.Next {
			parts = append(parts, arg.Value)
		}
	}
	return strings.Join(parts, " ")
}

func envLines(env []corev1.EnvVar) []string {
	var out []string
	for _, e := range env {
		out = append(out, fmt.Sprintf("ENV %s=%s", e.Name, quote(e.Value)))
	}
	return out
}

// quote writes a value so that Docker takes it as it is: neither a variable nor the
// end of the line.
func quote(s string) string {
	return strings.ReplaceAll(strconv.Quote(s), "$", `\$`)
}
