package jsonnet

import (
	"fmt"
	"sort"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
)

// maxFrames bounds how deep calls may nest.
const maxFrames = 1000

// VM evaluates the Jsonnet files of one application after another. What they import is
// parsed once; no value that was evaluated for one file is seen by another, so that each
// file asks for all that it depends on and nothing of one application reaches the next.
type VM struct {
	vm         *jsonnet.VM
	importer   *importer
	parameters map[string]string
	natives    *natives
}

// New returns a VM for files of the host's tree with an application's parameters.
func New(h Host, parameters map[string]string) *VM {
	quicken()
	v := &VM{vm: jsonnet.MakeVM(), importer: newImporter(h), natives: &natives{host: h}}
	v.vm.MaxStack = maxFrames
	v.vm.Importer(v.importer)
	for _, f := range append(v.natives.all(), quickNatives()...) {
		v.vm.NativeFunction(f)
	}
	v.Next(parameters)
	return v
}

// Next readies the VM for another application, in whose tree everything that was imported
// so far is the same, or not there as before.
func (v *VM) Next(parameters map[string]string) {
	v.parameters, v.natives.parameters = parameters, parameters
}

// Forget ends with an application: what it looked for in vain in its own folder may be
// there in the next one's tree.
func (v *VM) Forget(dir string) { v.importer.forget(dir) }

// Reads are the names of the files that were imported, or looked for in vain, since it was
// called last.
func (v *VM) Reads() []string { return v.importer.takeReads() }

// Evaluate reads a file like an import and evaluates it.
func (v *VM) Evaluate(file string) ([]document.Document, api.Problems) {
	c, err := v.importer.read(file)
	if err != nil {
		return nil, api.Problems{{File: file, Message: err.Error()}}
	}
	if c == nil {
		return nil, api.Problems{{File: file, Message: "there is no such file"}}
	}
	return v.EvaluateText(file, c.Data())
}

// EvaluateText turns a file into objects. The file's top-level function, if it is one, gets
// those of the parameters that it declares.
func (v *VM) EvaluateText(file string, text []byte) ([]document.Document, api.Problems) {
	v.natives.file = file
	node, err := jsonnet.SnippetToAST(file, string(text))
	if err != nil {
		return nil, api.Problems{problem(file, err)}
	}
	v.vm.TLAReset()
	v.vm.ExtReset() // There are none: this is how values are dropped.
	if problems := v.arguments(file, node); len(problems) > 0 {
		return nil, problems
	}
	out, err := v.vm.Evaluate(node)
	if err != nil {
		return nil, api.Problems{problem(file, err)}
	}
	var value any
	if err := utiljson.Unmarshal([]byte(out), &value); err != nil {
		return nil, api.Problems{{File: file, Message: "evaluates to something that is not JSON: " + err.Error()}}
	}
	m := manifest{file: file, budget: maxFields}
	m.walk(value, "", view{node: node}, 0)
	return m.documents, m.problems
}

// arguments sets the top-level arguments and reports those that are missing.
func (v *VM) arguments(file string, node ast.Node) (problems api.Problems) {
	f := v.topLevel(node, file, 0)
	if f == nil {
		return nil
	}
	for _, p := range f.Parameters {
		name := string(p.Name)
		if value, given := v.parameters[name]; given {
			v.vm.TLAVar(name, value)
		} else if p.DefaultArg == nil {
			problems = append(problems, api.Problem{File: file, Line: p.LocRange.Begin.Line, Field: "parameters." + name,
				Message: fmt.Sprintf("the file's top-level function needs parameter %s, which the Application does not give", name)})
		}
	}
	return problems
}

// topLevel finds the function that a file evaluates to, through locals and imports, as far
// as that can be seen without evaluating.
func (v *VM) topLevel(node ast.Node, file string, depth int) *ast.Function {
	for ; depth < 100; depth++ {
		switch n := node.(type) {
		case *ast.Function:
			return n
		case *ast.Local:
			node = n.Body
		case *ast.Parens:
			node = n.Inner
		case *ast.Import:
			next, foundAt, err := v.vm.ImportAST(file, n.File.Value)
			if err != nil {
				return nil
			}
			node, file = next, foundAt
		default:
			return nil
		}
	}
	return nil
}

// manifest collects the objects out of a file's value: an object, an array, a List, or a
// nested tree of them.
type manifest struct {
	file      string
	documents []document.Document
	problems  api.Problems
	// budget is how many fields' lines may still be noted.
	budget int
}

// walk is told where the value is written, as far as that can be seen, and the line of what
// holds it.
func (m *manifest) walk(v any, at string, w view, line int) {
	if seen := w.at(); seen > 0 {
		line = seen
	}
	switch v := v.(type) {
	case nil:
	case []any:
		for i, one := range v {
			m.walk(one, fmt.Sprintf("%s[%d]", at, i), w.element(i), line)
		}
	case map[string]any:
		m.object(v, at, w, line)
	default:
		m.wrong(at, line, fmt.Sprintf("is %s where an object is expected", describe(v)))
	}
}

func (m *manifest) object(v map[string]any, at string, w view, line int) {
	kind, hasKind := v["kind"].(string)
	_, hasVersion := v["apiVersion"].(string)
	items, hasItems := v["items"].([]any)
	switch {
	case hasKind && hasItems && kind == "List":
		m.walk(items, at+".items", w.field("items"), line)
	case hasKind && hasVersion:
		d := document.Document{Object: v, Via: at, Line: line, Lines: map[string]int{}}
		w.fields("", 0, d.Lines, &m.budget)
		if len(d.Lines) == 0 {
			d.Lines = nil
		}
		m.documents = append(m.documents, d)
	case hasKind:
		m.wrong(at, line, fmt.Sprintf("has a kind (%s) but no apiVersion", kind))
	case hasVersion:
		m.wrong(at, line, "has an apiVersion but no kind")
	default:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			m.walk(v[k], at+"."+k, w.field(k), line)
		}
	}
}

// maxWrong is how many wrong values of one file are listed.
const maxWrong = 20

func (m *manifest) wrong(at string, line int, message string) {
	if at == "" {
		at = "."
	}
	if len(m.problems) < maxWrong {
		m.problems = append(m.problems, api.Problem{File: m.file, Line: line, Field: at, Message: message})
	}
}

func describe(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}
