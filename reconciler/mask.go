package reconciler

import (
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// masked stands for a value that nobody is to see.
const masked = `"***"`

// sealed says whether the values of an object's kind are secret.
func sealed(o client.Object) bool {
	k, ok := api.KindFor(o.GetObjectKind().GroupVersionKind().GroupKind())
	return ok && k.Sealed
}

// shownSealed are the fields of a sealed object that may be shown.
func shownSealed(path string) bool {
	if path == "type" || path == "immutable" || strings.HasPrefix(path, "metadata.labels") {
		return true
	}
	// kubectl keeps the whole object in an annotation.
	return strings.HasPrefix(path, "metadata.annotations.") && !strings.Contains(path, "last-applied-configuration")
}

// maskFields hides the values of a sealed object's fields, one field at a time: that a
// field is added, changed or removed stays to be seen.
func maskFields(o *unstructured.Unstructured, fields []FieldChange) []FieldChange {
	if !sealed(o) {
		return fields
	}
	for i := range fields {
		f := &fields[i]
		if shownSealed(f.Path) {
			continue
		}
		switch {
		case f.Old != "" && f.New != "":
			f.Old, f.New = masked, masked+" (changed)"
		case f.New != "":
			f.New = masked
		default:
			f.Old = masked
		}
	}
	return fields
}

// foldStringData moves the write-only stringData of a Secret into its data, as the server
// does: only so does a key that leaves git leave the Secret.
func foldStringData(o *unstructured.Unstructured) {
	if o.GetKind() != "Secret" || o.GetAPIVersion() != "v1" {
		return
	}
	given, ok := o.Object["stringData"].(map[string]any)
	if !ok {
		return
	}
	data, _ := o.Object["data"].(map[string]any)
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range given {
		s, ok := v.(string)
		if !ok {
			// Let the server say what is wrong with it.
			return
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	o.Object["data"] = data
	delete(o.Object, "stringData")
}
