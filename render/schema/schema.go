package schema

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Dialect is the version of JSON Schema that is written.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Lock is the name of the schema of images.lock.json.
const Lock = "images.lock"

// Document is a JSON Schema.
type Document map[string]any

// Kinds are the kinds that have a schema: all that a repository may hold.
func Kinds() []api.Kind {
	return slices.DeleteFunc(api.Kinds(), func(k api.Kind) bool { return k.Runtime })
}

// FileName is the name of a kind's schema in a folder of them.
func FileName(k api.Kind) string { return strings.ToLower(k.Kind) + ".json" }

// Of makes the schema of one kind.
func Of(k api.Kind) (Document, error) {
	b := newBuilder()
	d, err := b.kind(k)
	if err != nil {
		return nil, err
	}
	return b.finish(d, k.Kind), nil
}

// All makes one schema that takes an object of any kind, or a List of them.
func All() (Document, error) {
	b := newBuilder()
	var each []any
	for _, k := range Kinds() {
		d, err := b.kind(k)
		if err != nil {
			return nil, err
		}
		name := k.Kind
		b.definitions[name] = d
		each = append(each, Document{
			"if":   Document{"properties": Document{"kind": Document{"const": k.Kind}, "apiVersion": Document{"enum": versions(k)}}, "required": []any{"kind", "apiVersion"}},
			"then": Document{"$ref": reference(name)},
		})
	}
	kinds := []any{"List"}
	for _, k := range Kinds() {
		kinds = append(kinds, k.Kind)
		if k.Kind == "Project" {
			kinds = append(kinds, "Namespace")
		}
	}
	b.definitions["any"] = Document{
		"type": "object", "required": []any{"apiVersion", "kind"},
		"properties": Document{"kind": Document{"enum": kinds}, "apiVersion": Document{"type": "string"}},
		"allOf":      each,
		"if":         Document{"properties": Document{"kind": Document{"const": "List"}}},
		"then":       Document{"properties": Document{"items": Document{"type": "array", "items": Document{"$ref": reference("any")}}}},
	}
	return b.finish(Document{"$ref": reference("any")}, "any object of a Slipway repository"), nil
}

// OfLock makes the schema of images.lock.json.
func OfLock() Document {
	b := newBuilder()
	d := b.fields(reflect.TypeFor[v1alpha1.ImagesLock]())
	d["required"] = []any{"images"}
	return b.finish(d, "images.lock.json")
}

type builder struct {
	definitions Document
	names       map[reflect.Type]string
}

func newBuilder() *builder {
	return &builder{definitions: Document{}, names: map[reflect.Type]string{}}
}

func reference(name string) string { return "#/$defs/" + name }

func (b *builder) finish(d Document, title string) Document {
	out := Document{"$schema": Dialect, "title": title}
	maps.Copy(out, d)
	if len(b.definitions) > 0 {
		out["$defs"] = b.definitions
	}
	return out
}

// versions are what apiVersion may be: OpenShift's kinds were also in the group-less v1.
func versions(k api.Kind) []any {
	out := []any{k.GroupVersion().String()}
	if modern := api.Modern(schema.GroupVersionKind{Version: "v1", Kind: k.Kind}); modern.Group == k.Group && k.Group != "" {
		out = append(out, "v1")
	}
	return out
}

// kind is an object with its apiVersion, kind and a name.
func (b *builder) kind(k api.Kind) (Document, error) {
	obj, err := api.Scheme().New(k.GroupVersionKind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Kind, err)
	}
	d := b.fields(reflect.TypeOf(obj).Elem())
	properties := d["properties"].(Document)
	properties["apiVersion"] = Document{"enum": versions(k)}
	properties["kind"] = Document{"const": k.Kind}
	if meta, ok := properties["metadata"].(Document); ok {
		properties["metadata"] = Document{"allOf": []any{meta, Document{"type": "object", "required": []any{"name"}}}}
	}
	if k.Kind == "Secret" {
		properties["sops"] = Document{"type": "object", "description": "What SOPS keeps of an encrypted file."}
	}
	d["required"] = []any{"apiVersion", "kind", "metadata"}
	return d, nil
}
