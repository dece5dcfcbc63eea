package read

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"

	"slipway.dev/slipway/api"
)

// format is what -o asks for.
type format struct {
	name string // "", json, yaml, name, jsonpath
	wide bool
	path *jsonpath.JSONPath
}

func parseFormat(text string) (format, error) {
	name, template, hasTemplate := strings.Cut(text, "=")
	switch {
	case text == "wide":
		return format{wide: true}, nil
	case text == "", text == "json", text == "yaml", text == "name":
		return format{name: text}, nil
	case name == "jsonpath" && hasTemplate:
		if !strings.Contains(template, "{") {
			template = "{" + template + "}"
		}
		p := jsonpath.New("output").AllowMissingKeys(true)
		if err := p.Parse(template); err != nil {
			return format{}, fmt.Errorf("-o jsonpath: %w", err)
		}
		return format{name: "jsonpath", path: p}, nil
	}
	return format{}, fmt.Errorf("-o %q: want json, yaml, wide, name or jsonpath=TEMPLATE", text)
}

// objects says whether whole objects are printed, not rows.
func (f format) objects() bool { return f.name != "" }

// print writes one object.
func (f format) print(w io.Writer, o *unstructured.Unstructured) error {
	if f.name == "name" {
		k, ok := api.KindFor(o.GroupVersionKind().GroupKind())
		if !ok {
			return fmt.Errorf("there is no kind %s", o.GroupVersionKind())
		}
		_, err := fmt.Fprintf(w, "%s/%s\n", label(k), o.GetName())
		return err
	}
	return f.value(w, o.Object)
}

// printRaw writes an object of a watch.
func (f format) printRaw(w io.Writer, raw json.RawMessage) error {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		return err
	}
	if f.name == "yaml" {
		if _, err := fmt.Fprintln(w, "---"); err != nil {
			return err
		}
	}
	return f.print(w, o)
}

// printList writes objects as one List, or one name a line.
func (f format) printList(w io.Writer, items []unstructured.Unstructured) error {
	all := make([]any, 0, len(items))
	for i := range items {
		if f.name == "name" {
			if err := f.print(w, &items[i]); err != nil {
				return err
			}
		}
		all = append(all, items[i].Object)
	}
	if f.name == "name" {
		return nil
	}
	return f.value(w, map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": all})
}

func (f format) value(w io.Writer, v any) error {
	switch f.name {
	case "jsonpath":
		return f.path.Execute(w, v)
	case "yaml":
		out, err := yaml.Marshal(v)
		if err == nil {
			_, err = w.Write(out)
		}
		return err
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "    ")
	return out.Encode(v)
}
