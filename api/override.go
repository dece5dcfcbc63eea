package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

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
	if OwnerAddress(o.Spec.Owner) == "" {
		errs = append(errs, field.Invalid(p.Child("owner"), o.Spec.Owner, "must be a name and an address in angle brackets"))
	}
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
		return field.ErrorList{field.Invalid(p, "(not shown)", "must be a JSON merge patch that changes something")}
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

// What signing an override takes.
const (
	// OverrideNamespace is what overrides are signed for: ssh-keygen -Y sign -n slipway-override.
	OverrideNamespace = "slipway-override"
	// OverrideSigners is the Secret in SystemProject that says who may: its keys are those of a
	// GitRepository's spec.verify.secretRef. Without it nobody may.
	OverrideSigners = "override-signers"
	// MaxOverride is how long an override may last.
	MaxOverride = 7 * 24 * time.Hour
)

// OverrideMessage is what is signed: the canonical JSON of an override's project and spec,
// without its signature. Keys are sorted, numbers stand as they were written.
func OverrideMessage(o *v1alpha1.Override) ([]byte, error) {
	spec := o.Spec
	spec.Signature = ""
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var content map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&content); err != nil {
		return nil, err
	}
	delete(content, "signature")
	return json.Marshal(map[string]any{"kind": "Override", "namespace": o.Namespace, "spec": content})
}

// OverrideName follows from what is signed, so that the same override is the same object.
func OverrideName(o *v1alpha1.Override) (string, error) {
	message, err := OverrideMessage(o)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(message)
	return o.Spec.Application + "-" + hex.EncodeToString(sum[:6]), nil
}

// OverrideEndMessage is what is signed to end an override before its time.
func OverrideEndMessage(namespace, name string) []byte {
	return fmt.Appendf(nil, `{"end":%q,"kind":"Override","namespace":%q}`, name, namespace)
}

// OwnerAddress is the address of an owner, `name <address>`; empty: there is none.
func OwnerAddress(owner string) string {
	_, rest, _ := strings.Cut(owner, "<")
	address, end, ok := strings.Cut(rest, ">")
	if !ok || strings.TrimSpace(end) != "" || strings.Count(address, "@") != 1 || strings.ContainsAny(address, " \t\n<,") {
		return ""
	}
	return address
}
