package api

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

func anOverride(patch string) *v1alpha1.Override {
	o := &v1alpha1.Override{ObjectMeta: metav1.ObjectMeta{Namespace: "slipway", Name: "any"}}
	o.Spec = v1alpha1.OverrideSpec{
		Application: "shop", Object: v1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Namespace: "shop"},
		Owner: "Ada <ada@example.com>", Reason: "fire", Until: metav1.NewTime(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)), Signature: "any",
	}
	o.Spec.Patch.Raw = []byte(patch)
	return o
}

// TestOverridesAreSignedWhole: everything but the name and the signature counts, and
// nothing that only the writing of JSON decides.
func TestOverridesAreSignedWhole(t *testing.T) {
	t.Parallel()
	name := func(o *v1alpha1.Override) string {
		t.Helper()
		n, err := OverrideName(o)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := name(anOverride(`{"spec": {"b": 1.50, "a": 2}}`))
	message, err := OverrideMessage(anOverride(`{"spec": {"b": 1.50, "a": 2}}`))
	want := `{"kind":"Override","namespace":"slipway","spec":{"application":"shop","object":{"apiVersion":"v1","kind":"ConfigMap","name":"a","namespace":"shop"},` +
		`"owner":"Ada \u003cada@example.com\u003e","patch":{"spec":{"a":2,"b":1.50}},"reason":"fire","until":"2026-05-01T12:00:00Z"}}`
	if err != nil || string(message) != want {
		t.Errorf("%s, %v\nwant %s", message, err, want)
	}
	same := anOverride(`{"spec":{"a":2,"b":1.50}}`)
	same.Name, same.Spec.Signature = "other", "other"
	same.Spec.Until = metav1.NewTime(same.Spec.Until.In(time.FixedZone("", 3600)))
	if name(same) != first {
		t.Error("the same override has another name")
	}
	for what, change := range map[string]func(*v1alpha1.Override){
		"project": func(o *v1alpha1.Override) { o.Namespace = "shop" }, "application": func(o *v1alpha1.Override) { o.Spec.Application = "x" },
		"object": func(o *v1alpha1.Override) { o.Spec.Object.Name = "x" }, "owner": func(o *v1alpha1.Override) { o.Spec.Owner = "x" },
		"reason": func(o *v1alpha1.Override) { o.Spec.Reason = "x" }, "until": func(o *v1alpha1.Override) { o.Spec.Until = metav1.NewTime(o.Spec.Until.Add(time.Second)) },
		"patch": func(o *v1alpha1.Override) { o.Spec.Patch.Raw = json.RawMessage(`{"spec":{"a":3,"b":1.50}}`) },
	} {
		o := anOverride(`{"spec": {"b": 1.50, "a": 2}}`)
		change(o)
		if name(o) == first {
			t.Errorf("another %s has the same name", what)
		}
	}
}

func TestOwnersHaveAnAddress(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string]string{
		"Ada <ada@example.com>": "ada@example.com", "<ada@example.com>": "ada@example.com", "Ada": "", "ada@example.com": "",
		"Ada <ada>": "", "Ada <a@b> <c@d>": "", "Ada <a@b,c@d>": "", "Ada <a@b": "",
	} {
		if got := OwnerAddress(owner); got != want {
			t.Errorf("%s: %q", owner, got)
		}
	}
}
