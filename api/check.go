package api

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// instead says what to use for well-known kinds that are not Slipway's.
var instead = map[string]string{
	"Ingress": "Route", "HTTPRoute": "Route",
}

// Check lists everything that is wrong with an object of a repository: an unknown
// kind, one that only controllers make, unknown fields and values of the wrong type,
// and, once it is defaulted, whatever Validate finds. The object itself stays as it
// is. A missing namespace is no mistake here: the Application gives it. Paths are
// exact, with indices, such as spec.template.spec.containers[0].ports[0].containerPort.
func Check(u *unstructured.Unstructured) field.ErrorList {
	_, errs := check(u)
	return errs
}

// Decode reads one object from JSON as strictly as Check does, with keys that are
// given twice among the errors. The object is defaulted; with errors it is nil.
func Decode(data []byte) (runtime.Object, field.ErrorList) {
	var content map[string]any
	strict, err := kjson.UnmarshalStrict(data, &content, kjson.DisallowDuplicateFields)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(nil, "", "not a JSON object: "+err.Error())}
	}
	var errs field.ErrorList
	for _, e := range strict {
		var at kjson.FieldError
		if errors.As(e, &at) {
			errs = append(errs, &field.Error{Type: field.ErrorTypeDuplicate, Field: at.FieldPath(), BadValue: "", Detail: e.Error()})
		}
	}
	obj, found := check(&unstructured.Unstructured{Object: content})
	if errs = append(errs, found...); len(errs) > 0 {
		return nil, errs
	}
	return obj, nil
}

func check(u *unstructured.Unstructured) (runtime.Object, field.ErrorList) {
	gvk, errs := checkKind(u)
	if len(errs) > 0 {
		return nil, errs
	}
	obj, err := Scheme().New(gvk)
	if err != nil {
		return nil, field.ErrorList{field.InternalError(field.NewPath("kind"), err)}
	}
	if errs := checkShape(u.Object, obj); len(errs) > 0 {
		return nil, sorted(errs)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj); err != nil {
		return nil, field.ErrorList{field.InternalError(nil, err)}
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	Default(obj)
	for _, e := range append(Validate(obj), checkDesired(u)...) {
		if e.Field == "metadata.namespace" && e.Type == field.ErrorTypeRequired {
			continue
		}
		errs = append(errs, e)
	}
	return obj, errs
}

func checkKind(u *unstructured.Unstructured) (schema.GroupVersionKind, field.ErrorList) {
	var errs field.ErrorList
	for _, name := range []string{"apiVersion", "kind"} {
		if s, ok := u.Object[name].(string); !ok || s == "" {
			errs = append(errs, field.Required(field.NewPath(name), ""))
		}
	}
	if len(errs) > 0 {
		return schema.GroupVersionKind{}, errs
	}
	gvk := Modern(u.GroupVersionKind())
	k, ok := KindFor(gvk.GroupKind())
	switch at := field.NewPath("kind"); {
	case !ok:
		why := fmt.Sprintf("no kind %s in %s", u.GetKind(), u.GetAPIVersion())
		if other, known := instead[gvk.Kind]; known {
			why += ": use " + other
		}
		return gvk, field.ErrorList{field.Invalid(at, u.GetKind(), why)}
	case k.Version != gvk.Version:
		return gvk, field.ErrorList{field.NotSupported(field.NewPath("apiVersion"), u.GetAPIVersion(), []string{k.GroupVersion().String()})}
	case k.Runtime:
		return gvk, field.ErrorList{field.Forbidden(at, k.Kind+" objects are made by Slipway, never by a repository")}
	}
	return k.GroupVersionKind, nil
}

// checkDesired finds what only Slipway may say about an object.
func checkDesired(u *unstructured.Unstructured) field.ErrorList {
	var errs field.ErrorList
	meta := field.NewPath("metadata")
	if u.GetName() == "" && u.GetGenerateName() != "" {
		errs = append(errs, field.Required(meta.Child("name"), "generateName would make another object with each render"))
	}
	// An owner that is not there would have the object collected as often as it is applied,
	// and a finalizer that nobody knows would keep it, and its project, for ever.
	if len(u.GetOwnerReferences()) > 0 {
		errs = append(errs, field.Forbidden(meta.Child("ownerReferences"), "are given by Slipway: what git holds belongs to its Application"))
	}
	if len(u.GetFinalizers()) > 0 {
		errs = append(errs, field.Forbidden(meta.Child("finalizers"), "are given by Slipway"))
	}
	errs = append(errs, checkNodeName(u)...)
	for _, a := range allocated {
		if _, ok := u.GetAnnotations()[a]; ok {
			errs = append(errs, field.Forbidden(meta.Child("annotations").Key(a), "is given by Slipway"))
		}
	}
	return errs
}
