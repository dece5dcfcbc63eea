package state

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// matcher is the label and field selectors of a list or watch. A field may be any path of
// scalar fields, such as spec.nodeName, involvedObject.name or status.phase; a field that an object
// does not have counts as empty.
type matcher struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func newMatcher(lo *client.ListOptions) matcher {
	m := matcher{namespace: lo.Namespace}
	if lo.LabelSelector != nil && !lo.LabelSelector.Empty() {
		m.labels = lo.LabelSelector
	}
	if lo.FieldSelector != nil && !lo.FieldSelector.Empty() {
		m.fields = lo.FieldSelector
	}
	return m
}

func (m matcher) all() bool { return m.labels == nil && m.fields == nil }

// name is the one name that can match, where the selector asks for one.
func (m matcher) name() (string, bool) {
	if m.fields == nil {
		return "", false
	}
	name, ok := m.fields.RequiresExactMatch("metadata.name")
	return name, ok && checkSegment("name", name) == nil
}

func (m matcher) needsBody() bool {
	if m.fields == nil {
		return false
	}
	for _, r := range m.fields.Requirements() {
		if !strings.HasPrefix(r.Field, "metadata.") {
			return true
		}
	}
	return false
}

func (m matcher) matches(obj client.Object) bool {
	if m.labels != nil && !m.labels.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	return m.fields == nil || m.fields.Matches(fieldsOf{obj})
}

// fieldsOf looks fields up when the selector asks for them.
type fieldsOf struct{ obj client.Object }

func (f fieldsOf) Has(path string) bool { return f.Get(path) != "" }

func (f fieldsOf) Get(path string) string {
	switch path {
	case "metadata.name":
		return f.obj.GetName()
	case "metadata.namespace":
		return f.obj.GetNamespace()
	}
	parts := strings.Split(path, ".")
	if u, ok := f.obj.(runtime.Unstructured); ok {
		v, found, err := unstructured.NestedFieldNoCopy(u.UnstructuredContent(), parts...)
		if !found || err != nil || v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	return scalar(reflect.ValueOf(f.obj), parts)
}

// scalar follows the JSON names of struct fields.
func scalar(v reflect.Value, path []string) string {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if len(path) == 0 {
		switch v.Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice, reflect.Interface:
			return ""
		}
		return fmt.Sprint(v.Interface())
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == path[0] {
				return scalar(v.Field(i), path[1:])
			}
			if name == "" && f.Anonymous {
				if s := scalar(v.Field(i), path); s != "" {
					return s
				}
			}
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			if e := v.MapIndex(reflect.ValueOf(path[0]).Convert(v.Type().Key())); e.IsValid() {
				return scalar(e, path[1:])
			}
		}
	}
	return ""
}
