package jsonnet

import (
	"encoding/json"
	"fmt"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/document"
	"slipway.dev/slipway/render/template"
)

// template turns a Template, or the file that holds one, into its objects. Generated values
// are kept under the instance's name, by default the template's.
func (n *natives) template(tpl, params, instance any) (any, error) {
	t, from, err := n.recipe(tpl)
	if err != nil {
		return nil, err
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
		return n.host.Generated(name, p, expression)
	}})
	if len(errs) > 0 {
		lines := make([]string, len(errs))
		for i, e := range errs {
			lines[i] = from.at(e.Field) + e.Field + ": " + e.ErrorBody()
		}
		return nil, fmt.Errorf("template %s: %s", name, strings.Join(lines, "; "))
	}
	objects := make([]any, len(result.Objects))
	for i, o := range result.Objects {
		objects[i] = o.Object
	}
	return objects, nil
}

// origin is where a template was read; the zero value: it is no file.
type origin api.Origin

// at is a field's file and line, for a message.
func (o origin) at(field string) string {
	if o.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", o.File, api.Origin(o).LineOf(strings.TrimPrefix(field, "template.")))
}

// recipe is the Template that is given, or that the named file holds.
func (n *natives) recipe(tpl any) (map[string]any, origin, error) {
	if t, ok := tpl.(map[string]any); ok {
		return t, origin{}, nil
	}
	name, ok := tpl.(string)
	if !ok {
		return nil, origin{}, fmt.Errorf("template: wants a Template, or the name of the file that holds one")
	}
	candidates, err := places(n.file, name)
	if err != nil {
		return nil, origin{}, fmt.Errorf("template %q: %w", name, err)
	}
	for _, at := range candidates {
		data, found, err := n.host.Read(at)
		if err != nil {
			return nil, origin{}, fmt.Errorf("template %q: %w", name, err)
		}
		if !found {
			continue
		}
		docs, problems := document.Parse(at, data)
		if len(problems) > 0 {
			return nil, origin{}, fmt.Errorf("template %q: %w", name, problems)
		}
		if len(docs) != 1 || docs[0].Object["kind"] != "Template" {
			return nil, origin{}, fmt.Errorf("template %q: %s holds %d objects, and should hold one Template", name, at, len(docs))
		}
		return docs[0].Object, origin{File: at, Line: docs[0].Line, FieldLines: docs[0].Lines}, nil
	}
	return nil, origin{}, fmt.Errorf("template %q: no such file; looked for %s", name, strings.Join(candidates, ", "))
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
