package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"slipway.dev/slipway/api"
)

// jsonReader builds the same syntax trees out of JSON as the YAML parser does out of YAML.
type jsonReader struct {
	dec     *json.Decoder
	data    []byte
	counted int
	line    int
}

var errDepth = fmt.Errorf("nests deeper than %d levels", MaxDepth)

func jsonNode(data []byte) (*yaml.Node, *api.Problem) {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if _, err = r.dec.Token(); errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			err = errors.New("there is more after the end of the value")
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &api.Problem{Line: lineAt(data, len(data)), Message: "not valid JSON: it ends too early"}
	}
	line := r.here()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line = lineAt(data, int(max(syntax.Offset-1, 0)))
	}
	return nil, &api.Problem{Line: line, Message: "not valid JSON: " + err.Error()}
}

// here is the line of the last token. Offsets only grow, so each byte is counted once.
func (r *jsonReader) here() int {
	at := int(r.dec.InputOffset())
	if at > r.counted {
		r.line += bytes.Count(r.data[r.counted:at], []byte{'\n'})
		r.counted = at
	}
	return r.line
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > MaxDepth {
		return nil, errDepth
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.here()}
	switch t := token.(type) {
	case json.Delim:
		return n, r.collection(n, t, depth)
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

func (r *jsonReader) collection(n *yaml.Node, open json.Delim, depth int) error {
	n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	if open == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for r.dec.More() {
		child, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, child)
	}
	_, err := r.dec.Token()
	return err
}
