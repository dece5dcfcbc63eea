package jsonnet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"

	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/template"
)

// natives are the functions that std.native gives. slipway.libsonnet wraps each of them.
func natives(h Host, parameters map[string]string) []*jsonnet.NativeFunction {
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
		text("parseYaml", ast.Identifiers{"yaml"}, func(a []string) (any, error) { return list(document.Value(a[0])) }),
		text("sha256", ast.Identifiers{"str"}, func(a []string) (any, error) {
			sum := sha256.Sum256([]byte(a[0]))
			return hex.EncodeToString(sum[:]), nil
		}),
		text("regexMatch", ast.Identifiers{"regex", "str"}, func(a []string) (any, error) {
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
		{Name: "manifestYaml", Params: ast.Identifiers{"value"}, Func: func(a []any) (any, error) { return document.Marshal(a[0]) }},
		{Name: "param", Params: ast.Identifiers{"name", "default"}, Func: func(a []any) (any, error) { return param(parameters, a[0], a[1]) }},
		{Name: "template", Params: ast.Identifiers{"template", "params", "instance"}, Func: func(a []any) (any, error) {
			return process(h, a[0], a[1], a[2])
		}},
	}
}

func list(v []any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
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
	var v any
	err := json.Unmarshal([]byte(given), &v)
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

var imageReference = regexp.MustCompile(`^(?:([a-z0-9][-a-z0-9]*)/)?([a-z0-9][-._a-z0-9]*)(?::([\w][-.\w]{0,127})|@(sha256:[0-9a-f]{64}))?$`)

// image turns `[project/]stream[:tag]` or `[project/]stream@digest` into a reference.
func image(ref string) (any, error) {
	m := imageReference.FindStringSubmatch(ref)
	if m == nil {
		return nil, fmt.Errorf("image: %q is not [project/]stream[:tag] or [project/]stream@sha256:digest", ref)
	}
	out := map[string]any{"kind": "ImageStreamTag", "name": m[2] + ":" + m[3]}
	switch {
	case m[4] != "":
		out["kind"], out["name"] = "ImageStreamImage", m[2]+"@"+m[4]
	case m[3] == "":
		out["name"] = m[2] + ":latest"
	}
	if m[1] != "" {
		out["namespace"] = m[1]
	}
	return out, nil
}

// process turns a Template into its objects. Generated values are kept under the
// instance's name, by default the template's.
func process(h Host, tpl, params, instance any) (any, error) {
	t, ok := tpl.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("template: the template must be an object")
	}
	meta, _ := t["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if s, ok := instance.(string); ok && s != "" {
		name = s
	}
	if name == "" {
		return nil, fmt.Errorf("template: the template needs metadata.name, or the instance a name")
	}
	given, err := values(params)
	if err != nil {
		return nil, err
	}
	result, errs := template.Process(t, given, template.Options{Generated: func(p, expression string) (string, error) {
		return h.Generated(name, p, expression)
	}})
	if len(errs) > 0 {
		lines := make([]string, len(errs))
		for i, e := range errs {
			lines[i] = e.Field + ": " + e.ErrorBody()
		}
		return nil, fmt.Errorf("template %s: %s", name, strings.Join(lines, "; "))
	}
	objects := make([]any, len(result.Objects))
	for i, o := range result.Objects {
		objects[i] = o.Object
	}
	return objects, nil
}

// values writes parameters as text, as a template takes them.
func values(params any) (map[string]string, error) {
	given := map[string]string{}
	in, ok := params.(map[string]any)
	if !ok && params != nil {
		return nil, fmt.Errorf("template: the parameters must be an object")
	}
	for k, v := range in {
		if s, ok := v.(string); ok {
			given[k] = s
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		given[k] = string(raw)
	}
	return given, nil
}
