package jsonnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"
	"go.yaml.in/yaml/v3"

	"slipway.dev/slipway/render/document"
)

// natives are the functions that std.native gives. slipway.libsonnet wraps each of them.
// Those that Tanka has, too, have its names, its arguments and its results.
type natives struct {
	host       Host
	parameters map[string]string
	// file is the one that is being evaluated.
	file string
}

func (n *natives) all() []*jsonnet.NativeFunction {
	return append(texts(), []*jsonnet.NativeFunction{
		{Name: "manifestJsonFromJson", Params: ast.Identifiers{"json", "indent"}, Func: func(a []any) (any, error) { return indented(a[0], a[1]) }},
		{Name: "manifestYaml", Params: ast.Identifiers{"value"}, Func: func(a []any) (any, error) { return document.Marshal(a[0]) }},
		{Name: "param", Params: ast.Identifiers{"name", "default"}, Func: func(a []any) (any, error) { return param(n.parameters, a[0], a[1]) }},
		{Name: "lockedImage", Params: ast.Identifiers{"tag"}, Func: func(a []any) (any, error) { return n.lockedImage(a[0]) }},
		{Name: "template", Params: ast.Identifiers{"template", "params", "instance"}, Func: func(a []any) (any, error) {
			return n.template(a[0], a[1], a[2])
		}},
	}...)
}

// texts are the functions that take nothing but text.
func texts() []*jsonnet.NativeFunction {
	text := func(name string, params ast.Identifiers, f func(args []string) (any, error)) *jsonnet.NativeFunction {
		return &jsonnet.NativeFunction{Name: name, Params: params, Func: func(raw []any) (any, error) {
			args := make([]string, len(raw))
			for i, a := range raw {
				s, ok := a.(string)
				if !ok {
					return nil, fmt.Errorf("%s: %s must be a string", name, params[i])
				}
				args[i] = s
			}
			return f(args)
		}}
	}
	return []*jsonnet.NativeFunction{
		text("parseYaml", ast.Identifiers{"yaml"}, func(a []string) (any, error) {
			v, err := document.Value(a[0])
			if err != nil {
				return nil, err
			}
			return v, nil
		}),
		text("parseJson", ast.Identifiers{"json"}, func(a []string) (any, error) { return fromJSON(a[0]) }),
		text("manifestYamlFromJson", ast.Identifiers{"json"}, func(a []string) (any, error) {
			v, err := fromJSON(a[0])
			if err != nil {
				return nil, err
			}
			out, err := yaml.Marshal(v)
			return string(out), err
		}),
		text("sha256", ast.Identifiers{"str"}, func(a []string) (any, error) {
			sum := sha256.Sum256([]byte(a[0]))
			return hex.EncodeToString(sum[:]), nil
		}),
		text("escapeStringRegex", ast.Identifiers{"str"}, func(a []string) (any, error) { return regexp.QuoteMeta(a[0]), nil }),
		text("regexMatch", ast.Identifiers{"regex", "string"}, func(a []string) (any, error) {
			return regexp.MatchString(a[0], a[1])
		}),
		text("regexSubst", ast.Identifiers{"regex", "src", "repl"}, func(a []string) (any, error) {
			re, err := regexp.Compile(a[0])
			if err != nil {
				return nil, err
			}
			return re.ReplaceAllString(a[1], a[2]), nil
		}),
		text("image", ast.Identifiers{"ref"}, func(a []string) (any, error) { return image(a[0]) }),
	}
}

// fromJSON has numbers as Jsonnet has them: all are floats.
func fromJSON(text string) (any, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	return v, nil
}

// maxIndent bounds the indentation of JSON, in spaces.
const maxIndent = 32

func indented(text, by any) (any, error) {
	s, ok := text.(string)
	n, isNumber := by.(float64)
	if !ok || !isNumber || n < 0 || n > maxIndent {
		return nil, fmt.Errorf("manifestJsonFromJson: wants a string, and an indentation of 0 to %d", maxIndent)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace([]byte(s)), "", strings.Repeat(" ", int(n))); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	return b.String() + "\n", nil
}

// param gives an Application's parameter, in the type of its default.
func param(parameters map[string]string, name, otherwise any) (any, error) {
	n, ok := name.(string)
	if !ok {
		return nil, fmt.Errorf("param: the name must be a string")
	}
	given, ok := parameters[n]
	if !ok {
		if otherwise == nil {
			return nil, fmt.Errorf("parameter %s is needed, which the Application does not give", n)
		}
		return otherwise, nil
	}
	v, err := fromJSON(given)
	switch otherwise.(type) {
	case nil, string:
		return given, nil
	case float64:
		if _, ok := v.(float64); err != nil || !ok {
			return nil, fmt.Errorf("parameter %s must be a number, not %q", n, given)
		}
	case bool:
		if _, ok := v.(bool); err != nil || !ok {
			return nil, fmt.Errorf("parameter %s must be true or false, not %q", n, given)
		}
	default:
		if err != nil {
			return nil, fmt.Errorf("parameter %s must be JSON: %w", n, err)
		}
	}
	return v, nil
}
