package reconciler

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxValue is how many bytes of a field's value a plan shows.
const maxValue = 160

// diffFields lists the fields in which two states of an object differ, leaving out
// what live state itself keeps (status, resource version and the like).
func diffFields(old, updated *unstructured.Unstructured) []FieldChange {
	var out []FieldChange
	walk("", shown(old), shown(updated), &out)
	return out
}

func shown(o *unstructured.Unstructured) map[string]any {
	m := map[string]any{}
	for k, v := range o.Object {
		switch k {
		case "status", "apiVersion", "kind":
		case "metadata":
			meta := map[string]any{}
			for _, key := range []string{"labels", "annotations"} {
				if v, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "metadata", key); ok {
					meta[key] = v
				}
			}
			m[k] = meta
		default:
			m[k] = v
		}
	}
	return m
}

func walk(path string, a, b any, out *[]FieldChange) {
	if reflect.DeepEqual(a, b) {
		return
	}
	if am, bm, ok := both[map[string]any](a, b); ok {
		for _, k := range keys(am, bm) {
			walk(join(path, k), get(am, k), get(bm, k), out)
		}
		return
	}
	if al, bl, ok := both[[]any](a, b); ok {
		walkList(path, al, bl, out)
		return
	}
	*out = append(*out, FieldChange{Path: path, Old: value(a), New: value(b)})
}

// walkList pairs items by name where every item has a distinct one, as Kubernetes'
// lists of containers, ports or variables do, and by position otherwise.
func walkList(path string, a, b []any, out *[]FieldChange) {
	an, aok := byName(a)
	bn, bok := byName(b)
	if aok && bok {
		for _, k := range keys(an, bn) {
			walk(fmt.Sprintf("%s[%s]", path, k), get(an, k), get(bn, k), out)
		}
		return
	}
	for i := range max(len(a), len(b)) {
		var x, y any
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		walk(fmt.Sprintf("%s[%d]", path, i), x, y, out)
	}
}

func byName(list []any) (map[string]any, bool) {
	m := map[string]any{}
	for _, item := range list {
		o, _ := item.(map[string]any)
		name, _ := o["name"].(string)
		if _, twice := m[name]; name == "" || twice {
			return nil, false
		}
		m[name] = item
	}
	return m, true
}

func both[T any](a, b any) (x, y T, ok bool) {
	x, aok := a.(T)
	y, bok := b.(T)
	return x, y, aok && bok
}

func get(m map[string]any, k string) any { return m[k] }

func keys(a, b map[string]any) []string {
	var ks []string
	for k := range a {
		ks = append(ks, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			ks = append(ks, k)
		}
	}
	sort.Strings(ks)
	return ks
}

func join(path, k string) string {
	if path == "" {
		return k
	}
	return path + "." + k
}

func value(v any) string {
	if v == nil {
		return ""
	}
	j, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(j) > maxValue {
		return string(j[:maxValue]) + "…"
	}
	return string(j)
}
