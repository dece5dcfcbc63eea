package schema

import (
	"encoding/json"
	"path"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// special are the types that read JSON in their own way.
var special = map[reflect.Type]Document{
	reflect.TypeFor[metav1.Time]():        {"type": orNull("string"), "format": "date-time"},
	reflect.TypeFor[metav1.MicroTime]():   {"type": orNull("string"), "format": "date-time"},
	reflect.TypeFor[metav1.Duration]():    {"type": orNull("string"), "description": "A duration, such as 1m30s."},
	reflect.TypeFor[resource.Quantity]():  {"type": []any{"string", "number", "null"}, "description": "A quantity, such as 500m or 64Mi."},
	reflect.TypeFor[intstr.IntOrString](): {"type": []any{"string", "integer", "null"}},
	reflect.TypeFor[runtime.RawExtension](): {
		"type": orNull("object"),
	},
	reflect.TypeFor[metav1.FieldsV1](): {"type": orNull("object")},
}

// orNull is a type that may be left out by writing null, as everywhere in Kubernetes.
func orNull(name string) []any { return []any{name, "null"} }

// value is the schema of a Go type.
func (b *builder) value(t reflect.Type) Document {
	if t.Kind() == reflect.Pointer {
		return b.value(t.Elem())
	}
	if d, ok := special[t]; ok {
		return clone(d)
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return Document{} // Whatever it takes.
	}
	switch t.Kind() {
	case reflect.Struct:
		return Document{"$ref": reference(b.define(t))}
	case reflect.Map:
		return Document{"type": orNull("object"), "additionalProperties": b.value(t.Elem())}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Document{"type": orNull("string"), "contentEncoding": "base64"}
		}
		return Document{"type": orNull("array"), "items": b.value(t.Elem())}
	case reflect.String:
		return Document{"type": orNull("string")}
	case reflect.Bool:
		return Document{"type": orNull("boolean")}
	case reflect.Float32, reflect.Float64:
		return Document{"type": orNull("number")}
	case reflect.Interface:
		return Document{}
	}
	return Document{"type": orNull("integer")}
}

func clone(d Document) Document {
	out := Document{}
	for k, v := range d {
		out[k] = v
	}
	return out
}

// define makes a type's schema once, under a name of its own.
func (b *builder) define(t reflect.Type) string {
	if name, ok := b.names[t]; ok {
		return name
	}
	// The last two elements of a package's path tell its group and version.
	dir, version := path.Split(t.PkgPath())
	name := path.Base(dir) + "." + version + "." + t.Name()
	b.names[t] = name
	d := b.fields(t)
	d["type"] = orNull("object")
	b.definitions[name] = d
	return name
}

// fields are a struct's: those of embedded structs are its own.
func (b *builder) fields(t reflect.Type) Document {
	properties := Document{}
	b.collect(t, properties)
	d := Document{"type": "object", "properties": properties, "additionalProperties": false}
	if about := describe(t)[""]; about != "" {
		d["description"] = about
	}
	return d
}

func (b *builder) collect(t reflect.Type, into Document) {
	about := describe(t)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			b.collect(embedded, into)
			continue
		case name == "":
			name = f.Name
		}
		d := b.value(f.Type)
		if text := about[name]; text != "" {
			d["description"] = text
		}
		into[name] = d
	}
}
