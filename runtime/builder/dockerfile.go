package builder

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	corev1 "k8s.io/api/core/v1"
)

// change is what is done to a Dockerfile before it is built.
type change struct {
	// from replaces the image of the last stage; empty: it stays.
	from string
	// stages replaces images that FROM and COPY --from name, unless an earlier stage of
	// the file has that name.
	stages map[string]string
	// stageEnv follows every FROM, so that RUN steps see it.
	stageEnv []corev1.EnvVar
	// env and labels end the file: they change with every build, and put further up they
	// would keep the engine's cache from ever being of use.
	env    []corev1.EnvVar
	labels map[string]string
}

// rewrite changes a Dockerfile as OpenShift does; everything else stays as it was
// written. Source: OpenShift 3.11, pkg/build/builder/docker.go and source.go.
func rewrite(dockerfile []byte, c change) ([]byte, error) {
	res, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil, err
	}
	r := rewriter{change: c, escape: string(res.EscapeToken), names: maps.Clone(c.stages)}
	last := -1
	for i, n := range res.AST.Children {
		if is(n, "FROM") {
			last = i
		}
	}
	if last < 0 {
		return nil, fmt.Errorf("has no FROM")
	}
	lines := strings.Split(strings.TrimRight(string(dockerfile), "\n"), "\n")
	next := 1
	for i, n := range res.AST.Children {
		r.lines = append(r.lines, lines[next-1:n.StartLine-1]...)
		next = n.EndLine + 1
		if err := r.instruction(n, lines[n.StartLine-1:n.EndLine], i == last); err != nil {
			return nil, err
		}
	}
	r.lines = append(r.lines, lines[next-1:]...)
	if err := r.set("ENV", c.env); err != nil {
		return nil, err
	}
	if err := r.set("LABEL", sortedVars(c.labels)); err != nil {
		return nil, err
	}
	out := []byte(strings.Join(r.lines, "\n") + "\n")
	// A last line that goes on would swallow what was added.
	if res, err := parser.Parse(bytes.NewReader(out)); err != nil || len(res.AST.Children) != r.count {
		return nil, fmt.Errorf("its last instruction is not complete")
	}
	return out, nil
}

type rewriter struct {
	change
	escape string
	// names are the stages that still stand for images.
	names map[string]string
	lines []string
	// count is how many instructions the lines hold.
	count int
}

func is(n *parser.Node, name string) bool { return strings.EqualFold(n.Value, name) }

func (r *rewriter) instruction(n *parser.Node, lines []string, last bool) error {
	r.count++
	switch {
	case is(n, "FROM"):
		return r.fromLine(n, lines, last)
	case is(n, "COPY"):
		lines = slices.Clone(lines)
		for _, flag := range n.Flags {
			name, ok := strings.CutPrefix(flag, "--from=")
			if image := r.names[name]; ok && image != "" {
				replaceFirst(lines, flag, "--from="+image)
			}
		}
	}
	r.lines = append(r.lines, lines...)
	return nil
}

// fromLine replaces the image, keeping flags and stage name, and adds what follows a FROM.
func (r *rewriter) fromLine(n *parser.Node, lines []string, last bool) error {
	var words []string
	for arg := n.Next; arg != nil; arg = arg.Next {
		words = append(words, arg.Value)
	}
	image := ""
	if len(words) > 0 {
		image = r.names[words[0]]
	}
	if last && r.from != "" {
		image = r.from
	}
	if image == "" {
		r.lines = append(r.lines, lines...)
	} else {
		parts := slices.Concat([]string{"FROM"}, n.Flags, []string{image}, words[min(1, len(words)):])
		r.lines = append(r.lines, strings.Join(parts, " "))
	}
	if len(words) == 3 && strings.EqualFold(words[1], "AS") {
		delete(r.names, words[2])
	}
	if err := r.set("ENV", r.stageEnv); err != nil {
		return err
	}
	if config := r.labels[labelConfig]; config != "" {
		return r.set("LABEL", []corev1.EnvVar{{Name: labelConfig, Value: config}})
	}
	return nil
}

func replaceFirst(lines []string, old, with string) {
	for i, line := range lines {
		if strings.Contains(line, old) {
			lines[i] = strings.Replace(line, old, with, 1)
			return
		}
	}
}

// set adds one instruction that sets all the pairs.
func (r *rewriter) set(instruction string, vars []corev1.EnvVar) error {
	if len(vars) == 0 {
		return nil
	}
	line := instruction
	for _, v := range vars {
		if strings.ContainsAny(v.Name+v.Value, "\n\r\x00") {
			return fmt.Errorf("%s %s: a Dockerfile cannot carry a value with a line break", instruction, v.Name)
		}
		line += " " + r.name(v.Name) + "=" + r.quote(v.Value)
	}
	r.lines = append(r.lines, line)
	r.count++
	return nil
}

// name quotes what a Dockerfile would not take for one word.
func (r *rewriter) name(s string) string {
	if strings.ContainsAny(s, " \t=\"'$"+r.escape) || s == "" {
		return r.quote(s)
	}
	return s
}

// quote writes a value so that Docker takes it as it is: neither a variable nor the
// end of the word.
func (r *rewriter) quote(s string) string {
	return `"` + strings.NewReplacer(r.escape, r.escape+r.escape, `"`, r.escape+`"`, "$", r.escape+"$").Replace(s) + `"`
}

func sortedVars(m map[string]string) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, corev1.EnvVar{Name: k, Value: m[k]})
	}
	return out
}
