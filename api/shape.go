package api

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkShape compares a tree of JSON values with the Go type that it will be decoded
// into, so that every unknown field and every value of the wrong type is found at once
// and with its exact path. Values are never repeated in errors: they may be secret.
func checkShape(content map[string]any, obj runtime.Object) field.ErrorList {
	return shapeOf(content, reflect.TypeOf(obj).Elem(), nil)
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func shapeOf(v any, t reflect.Type, p *field.Path) field.ErrorList {
	if v == nil {
		return nil // null is as good as absent
	}
	if t.Kind() == reflect.Pointer {
		return shapeOf(v, t.Elem(), p)
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return shapeOfCustom(v, t, p)
	}
	switch t.Kind() {
	case reflect.Struct:
		return shapeOfStruct(v, t, p)
	case reflect.Map:
		return shapeOfMap(v, t, p)
	case reflect.Slice:
		return shapeOfSlice(v, t, p)
	case reflect.Interface:
		return nil
	}
	return shapeOfScalar(v, t, p)
}

func shapeOfStruct(v any, t reflect.Type, p *field.Path) field.ErrorList {
	object, ok := v.(map[string]any)
	if !ok {
		return wrongType(v, "an object", p)
	}
	fields := jsonFields(t)
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := child(p, name)
		ft, known := fields[name]
		if !known {
			why := `unknown field "` + at.String() + `"`
			if close := Closest(name, slices.Sorted(maps.Keys(fields))); close != "" {
				why += ", did you mean " + close + "?"
			}
			errs = append(errs, field.Forbidden(at, why))
			continue
		}
		errs = append(errs, shapeOf(object[name], ft, at)...)
	}
	return errs
}

func shapeOfMap(v any, t reflect.Type, p *field.Path) field.ErrorList {
	object, ok := v.(map[string]any)
	if !ok {
		return wrongType(v, "an object", p)
	}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(object)) {
		errs = append(errs, shapeOf(object[name], t.Elem(), p.Key(name))...)
	}
	return errs
}

func shapeOfSlice(v any, t reflect.Type, p *field.Path) field.ErrorList {
	if t.Elem().Kind() == reflect.Uint8 {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a string in base64", p)
		}
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			return field.ErrorList{field.TypeInvalid(p, "string", "must be a string in base64")}
		}
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return wrongType(v, "a list", p)
	}
	var errs field.ErrorList
	for i, item := range list {
		errs = append(errs, shapeOf(item, t.Elem(), p.Index(i))...)
	}
	return errs
}

func shapeOfScalar(v any, t reflect.Type, p *field.Path) field.ErrorList {
	switch k := t.Kind(); k {
	case reflect.String:
		if _, ok := v.(string); !ok {
			return wrongType(v, "a string", p)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return wrongType(v, "true or false", p)
		}
	case reflect.Float32, reflect.Float64:
		switch v.(type) {
		case int64, float64:
		default:
			return wrongType(v, "a number", p)
		}
	default:
		var n int64
		switch x := v.(type) {
		case int64:
			n = x
		case float64:
			if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
				return wrongType(v, "an integer", p)
			}
			n = int64(x)
		default:
			return wrongType(v, "an integer", p)
		}
		zero := reflect.New(t).Elem()
		if zero.CanInt() && zero.OverflowInt(n) || zero.CanUint() && (n < 0 || zero.OverflowUint(uint64(n))) {
			return field.ErrorList{field.Invalid(p, n, "is out of range")}
		}
	}
	return nil
}

// shapeOfCustom asks the type itself: quantities, times, durations, ports.
func shapeOfCustom(v any, t reflect.Type, p *field.Path) field.ErrorList {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		return field.ErrorList{field.TypeInvalid(p, describe(v), "must be a "+t.Name()+": "+err.Error())}
	}
	return nil
}

func wrongType(v any, want string, p *field.Path) field.ErrorList {
	return field.ErrorList{field.TypeInvalid(p, describe(v), "must be "+want)}
}

func describe(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "list"
	}
	return "number"
}

// fieldsOf keeps the JSON fields of each struct type that was ever looked at.
var fieldsOf sync.Map

func jsonFields(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldsOf.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case name != "":
			fields[name] = f.Type
		case f.Anonymous || strings.Contains(options, "inline"):
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			maps.Copy(fields, jsonFields(embedded))
		default:
			fields[f.Name] = f.Type
		}
	}
	fieldsOf.Store(t, fields)
	return fields
}
