package state

import (
	"bytes"
	"reflect"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	smd "sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Server-side apply costs most where there is nothing to merge: it walks both objects six times to find
// that a new object is the manifest, or that a live one has all of it already. These two cases are told
// here by one walk; all others, and all mistakes, are left to the field manager. A test compares both ways.

// unowned are the fields that never have a manager, as of managedfields' strip-meta manager.
var unowned = fieldpath.NewSet(
	fieldpath.MakePathOrDie("apiVersion"),
	fieldpath.MakePathOrDie("kind"),
	fieldpath.MakePathOrDie("metadata"),
	fieldpath.MakePathOrDie("metadata", "name"),
	fieldpath.MakePathOrDie("metadata", "namespace"),
	fieldpath.MakePathOrDie("metadata", "creationTimestamp"),
	fieldpath.MakePathOrDie("metadata", "selfLink"),
	fieldpath.MakePathOrDie("metadata", "uid"),
	fieldpath.MakePathOrDie("metadata", "clusterName"),
	fieldpath.MakePathOrDie("metadata", "generation"),
	fieldpath.MakePathOrDie("metadata", "managedFields"),
	fieldpath.MakePathOrDie("metadata", "resourceVersion"),
)

// kubectl's applies also keep an annotation up to date; they take the long way.
const kubectl = "kubectl"

// shortcut is what applying a narrowed manifest makes of an object, where that can be told without a
// merge; nil: it cannot. live and its content as decoded are nil where the object does not exist. The
// answer may be live.
func (w write) shortcut(live client.Object, content map[string]any, manifest *unstructured.Unstructured) client.Object {
	if w.manager == kubectl || w.status || manifest.GetUID() != "" || !plain(manifest.Object) {
		return nil
	}
	value, err := w.fits(manifest)
	if err != nil {
		return nil
	}
	set, err := value.ToFieldSet()
	if err != nil {
		return nil
	}
	owned, err := set.Difference(unowned).ToJSON()
	if err != nil {
		return nil
	}
	if live == nil {
		return w.fresh(manifest, owned)
	}
	if w.alreadyOwns(live, owned) && holds(value.Schema(), value.TypeRef(), content, manifest.Object) {
		return live
	}
	return nil
}

// fits is a manifest by its kind's schema, which it must fit.
func (k *kindInfo) fits(manifest *unstructured.Unstructured) (*smd.TypedValue, error) {
	if _, err := k.fields(false); err != nil {
		return nil, err
	}
	return k.main.convert.ObjectToTyped(manifest)
}

// fresh is the object that a manifest alone makes.
func (w write) fresh(manifest *unstructured.Unstructured, owned []byte) client.Object {
	obj := w.new()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(manifest.Object, obj); err != nil {
		return nil
	}
	obj.GetObjectKind().SetGroupVersionKind(w.GroupVersionKind)
	obj.SetManagedFields(nil)
	if string(owned) != "{}" {
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: w.manager, Operation: metav1.ManagedFieldsOperationApply,
			APIVersion: w.GroupVersion().String(), Time: &metav1.Time{Time: time.Now().UTC()},
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(owned))}})
	}
	return obj
}

// alreadyOwns: the manager's last manifest had the same fields as this one, so that none is let go.
func (w write) alreadyOwns(live client.Object, owned []byte) bool {
	version, found := w.GroupVersion().String(), false
	for _, m := range live.GetManagedFields() {
		if m.APIVersion != version {
			return false
		}
		if m.Manager == w.manager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" {
			found = m.FieldsV1 != nil && bytes.Equal(m.FieldsV1.GetRawBytes(), owned)
		}
	}
	return found
}

// plain: the manifest has no null and no empty list, which a merge may keep, drop or turn into each other.
func plain(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case map[string]any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
		return len(v) > 0
	}
	return true
}

// holds: merging part into whole would leave whole as it is. It answers false where that is not plain to
// see.
func holds(s *schema.Schema, ref schema.TypeRef, whole, part any) bool {
	atom, ok := s.Resolve(ref)
	if !ok {
		return false
	}
	switch p := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		if !ok || atom.Map == nil {
			return false
		}
		if atom.Map.ElementRelationship == schema.Atomic {
			return reflect.DeepEqual(w, p)
		}
		return holdsFields(s, atom.Map, w, p)
	case []any:
		w, ok := whole.([]any)
		if !ok || atom.List == nil {
			return false
		}
		if atom.List.ElementRelationship == schema.Atomic {
			return reflect.DeepEqual(w, p)
		}
		return holdsItems(s, atom.List, w, p)
	}
	return whole == part
}

func holdsFields(s *schema.Schema, m *schema.Map, whole, part map[string]any) bool {
	for name, p := range part {
		w, ok := whole[name]
		if !ok {
			return false
		}
		ref := m.ElementType
		if f, ok := m.FindField(name); ok {
			ref = f.Type
		}
		if !holds(s, ref, w, p) {
			return false
		}
	}
	return true
}

// holdsItems: both lists have the same items in the same order.
func holdsItems(s *schema.Schema, l *schema.List, whole, part []any) bool {
	if len(whole) != len(part) {
		return false
	}
	for i := range part {
		if len(l.Keys) > 0 && !sameKeys(s, l, whole[i], part[i]) || !holds(s, l.ElementType, whole[i], part[i]) {
			return false
		}
	}
	return true
}

// sameKeys: part is about the item whole of a list. A key that part leaves out has its default.
func sameKeys(s *schema.Schema, l *schema.List, whole, part any) bool {
	w, ok := whole.(map[string]any)
	p, also := part.(map[string]any)
	item, known := s.Resolve(l.ElementType)
	if !ok || !also || !known || item.Map == nil {
		return false
	}
	for _, k := range l.Keys {
		want := p[k]
		if f, ok := item.Map.FindField(k); ok && want == nil {
			want = f.Default
		}
		if want == nil || w[k] != want {
			return false
		}
	}
	return true
}

// sent is a copy of a value as JSON would carry it to a server; false: it takes JSON to tell.
func sent(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool, int64:
		return v, true
	case string:
		return v, utf8.ValidString(v)
	case map[string]any:
		if v == nil {
			return nil, true
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			c, ok := sent(e)
			if !ok || !utf8.ValidString(k) {
				return nil, false
			}
			out[k] = c
		}
		return out, true
	case []any:
		if v == nil {
			return nil, true
		}
		out := make([]any, len(v))
		for i, e := range v {
			c, ok := sent(e)
			if !ok {
				return nil, false
			}
			out[i] = c
		}
		return out, true
	}
	return nil, false
}
