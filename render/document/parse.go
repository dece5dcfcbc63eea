package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"slipway.dev/slipway/api"
)

// The bounds of one file.
const (
	// MaxValues is how many values a file may hold after its aliases are unfolded.
	MaxValues = 500_000
	// MaxDepth is how deep its values may nest.
	MaxDepth = 200
	// MaxDocuments is how many documents a YAML file may hold.
	MaxDocuments = 10_000
)

// Object is a JSON object whose integers are int64 and other numbers float64, also
// after a way through JSON.
type Object map[string]any

// UnmarshalJSON keeps integers integers.
func (o *Object) UnmarshalJSON(data []byte) error {
	var m map[string]any
	if err := utiljson.Unmarshal(data, &m); err != nil {
		return err
	}
	*o = m
	return nil
}

// Document is one object of a file.
type Document struct {
	Object Object `json:"object"`
	// Line of its first line, from 1.
	Line int `json:"line,omitempty"`
	// Lines maps the path of each field to its line, as api.Origin does.
	Lines map[string]int `json:"lines,omitempty"`
	// Via is the way to the object inside of what a Jsonnet file evaluates to.
	Via string `json:"via,omitempty"`
	// Sealed is set on the first document of a file that SOPS encrypted.
	Sealed *Sealed `json:"sealed,omitempty"`
}

// Parse reads the objects of a file: YAML with any number of documents, or JSON if its
// name ends in .json. A List is replaced by its items. Objects beside a mistake are
// returned too, except of a file that is encrypted, see Sealed.
func Parse(file string, data []byte) (docs []Document, problems api.Problems) {
	defer func() {
		if r := recover(); r != nil {
			docs, problems = nil, append(problems, api.Problem{File: file, Message: fmt.Sprintf("cannot be parsed: %v", r)})
		}
	}()
	nodes, problems := read(file, data)
	c := &converter{file: file, budget: MaxValues}
	if meta := sealed(nodes); meta != nil {
		if len(problems) == 0 {
			docs = c.sealedDocuments(meta, nodes)
		}
		return docs, append(problems, c.problems...)
	}
	for _, n := range nodes {
		docs = append(docs, c.documents(n)...)
	}
	return docs, append(problems, c.problems...)
}

// read turns text into syntax trees with lines of the file.
func read(file string, data []byte) ([]*yaml.Node, api.Problems) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if p := unreadable(data); p != nil {
		p.File = file
		return nil, api.Problems{*p}
	}
	if path.Ext(file) == ".json" {
		n, p := jsonNode(data)
		if p != nil {
			p.File = file
			return nil, api.Problems{*p}
		}
		return []*yaml.Node{n}, nil
	}
	return yamlNodes(file, data)
}

// unreadable finds bytes that no text file has.
func unreadable(data []byte) *api.Problem {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return &api.Problem{Line: 1, Message: "is UTF-16: save it as UTF-8"}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return &api.Problem{Line: lineAt(data, i), Message: "holds a NUL byte: it is not a text file"}
	}
	if utf8.Valid(data) {
		return nil
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return &api.Problem{Line: lineAt(data, i), Message: "is not valid UTF-8"}
		}
		i += size
	}
	return nil
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(offset, len(data))], []byte{'\n'})
}

// Value parses text that holds YAML documents into plain values, for Jsonnet's parseYaml.
func Value(text string) ([]any, error) {
	nodes, problems := read("", []byte(text))
	c := &converter{budget: MaxValues}
	values := []any{}
	for _, n := range nodes {
		values = append(values, c.value(n, "", 0))
	}
	if problems = append(problems, c.problems...); len(problems) > 0 {
		p := problems[0]
		return nil, fmt.Errorf("line %d: %s", p.Line, strings.TrimSpace(p.Field+" "+p.Message))
	}
	return values, nil
}

// Marshal writes a value as YAML, the keys sorted.
func Marshal(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var plain any
	if err := utiljson.Unmarshal(raw, &plain); err != nil {
		return "", err
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(plain); err != nil {
		return "", err
	}
	return b.String(), enc.Close()
}
