package api

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"slipway.dev/slipway/api/v1alpha1"
)

// overridable are the top-level fields that an Override may change.
var overridable = map[string]bool{"spec": true, "data": true, "stringData": true, "metadata": true}

func validateOverride(o *v1alpha1.Override) field.ErrorList {
	p := field.NewPath("spec")
	errs := named(p.Child("application"), o.Spec.Application, validation.IsDNS1123Subdomain)
	errs = append(errs, objectReference(p.Child("object"), o.Spec.Object)...)
	errs = append(errs, required(p.Child("owner"), o.Spec.Owner)...)
	errs = append(errs, required(p.Child("reason"), o.Spec.Reason)...)
	errs = append(errs, required(p.Child("signature"), o.Spec.Signature)...)
	if o.Spec.Until.IsZero() {
		errs = append(errs, field.Required(p.Child("until"), "an override ends by itself"))
	}
	return append(errs, overridePatch(p.Child("patch"), o.Spec.Patch.Raw)...)
}

func overridePatch(p *field.Path, raw []byte) field.ErrorList {
	patch := map[string]any{}
	if err := json.Unmarshal(raw, &patch); err != nil || len(patch) == 0 {
		return field.ErrorList{field.Invalid(p, string(raw), "must be a JSON merge patch that changes something")}
	}
	var errs field.ErrorList
	for key, v := range patch {
		if !overridable[key] {
			errs = append(errs, field.Forbidden(p.Child(key), "only spec, data, labels and annotations can be overridden"))
		}
		if meta, ok := v.(map[string]any); key == "metadata" && ok {
			for name := range meta {
				if name != "labels" && name != "annotations" {
					errs = append(errs, field.Forbidden(p.Child(key, name), "only labels and annotations can be overridden"))
				}
			}
		}
	}
	return errs
}

func updateOverride(n, old *v1alpha1.Override) field.ErrorList {
	return immutable(n.Spec, old.Spec, field.NewPath("spec"))
}
