package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"

	"go.yaml.in/yaml/v3"

	"slipway.dev/slipway/api"
)

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s)(.*)$`)

// chunk is the text of one document and the line it starts at.
type chunk struct {
	line int
	text []byte
}

// split cuts a stream at its document markers, so that a syntax error in one document
// does not hide those after it. `---` in the first column followed by white space is a
// marker wherever it stands: YAML forbids it inside of scalars. Directives stay with the
// document after them.
func split(data []byte) []chunk {
	var chunks []chunk
	start, startLine, line := 0, 1, 0
	content := false
	for at := 0; at < len(data); {
		end := len(data)
		if nl := bytes.IndexByte(data[at:], '\n'); nl >= 0 {
			end = at + nl + 1
		}
		line++
		text := data[at:end]
		if marker(text) {
			if content {
				chunks = append(chunks, chunk{startLine, data[start:at]})
				start, startLine = at, line
			}
			content = true
		} else if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] != '#' && text[0] != '%' {
			content = true
		}
		at = end
	}
	if content {
		chunks = append(chunks, chunk{startLine, data[start:]})
	}
	return chunks
}

func marker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\n' || line[3] == '\r')
}

// yamlNodes parses every document of a stream, going on after one with a syntax error.
func yamlNodes(file string, data []byte) (nodes []*yaml.Node, problems api.Problems) {
	for _, c := range split(data) {
		dec := yaml.NewDecoder(bytes.NewReader(c.text))
		for {
			var doc yaml.Node
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				problems = append(problems, syntaxProblem(file, c, err))
				break
			}
			if len(doc.Content) != 1 || empty(doc.Content[0]) {
				continue
			}
			if len(nodes) == MaxDocuments {
				return nodes, append(problems, api.Problem{File: file, Line: c.line, Message: fmt.Sprintf("holds more than %d documents", MaxDocuments)})
			}
			shift(doc.Content[0], c.line-1)
			nodes = append(nodes, doc.Content[0])
		}
	}
	return nodes, problems
}

func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// shift moves a tree's lines from the document's to the file's. Aliases point into the
// same tree and are not followed.
func shift(n *yaml.Node, by int) {
	n.Line += by
	for _, child := range n.Content {
		shift(child, by)
	}
}

func syntaxProblem(file string, c chunk, err error) api.Problem {
	p := api.Problem{File: file, Line: c.line, Message: "not valid YAML: " + err.Error()}
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil && n > 0 {
			p.Line = c.line - 1 + n
		}
		p.Message = "not valid YAML: " + m[2]
	}
	if len(c.text) <= maxBlamed {
		p.Line = c.line + blame(c.text)
	}
	return p
}

// The bounds of finding the line of a mistake by parsing again, in bytes: of the document,
// and of all that is parsed.
const (
	maxBlamed  = 256 << 10
	maxReparse = 8 << 20
)

// blame finds the line, from 0, that makes a document invalid: the one after the longest
// beginning that is valid. The parser's own answer is the start of the mapping or list
// that the mistake is in, which may be a screen away.
func blame(text []byte) int {
	lines := bytes.SplitAfter(text, []byte{'\n'})
	budget := maxReparse
	valid := func(k int) bool {
		prefix := bytes.Join(lines[:k], nil)
		if budget -= len(prefix) + 1; budget < 0 {
			return false
		}
		var doc yaml.Node
		err := yaml.NewDecoder(bytes.NewReader(prefix)).Decode(&doc)
		return err == nil || errors.Is(err, io.EOF)
	}
	good := 0
	for {
		good += sort.Search(len(lines)-good, func(i int) bool { return !valid(good + i + 1) })
		// What is written over several lines is not valid until its last one: look past it.
		further := 0
		for k := good + 2; k <= min(good+20, len(lines)); k++ {
			if valid(k) {
				further = k
			}
		}
		if further == 0 {
			return min(good, len(lines)-1)
		}
		good = further
	}
}
