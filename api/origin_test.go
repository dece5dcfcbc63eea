package api

import "testing"

func TestLineOfFindsTheClosestAncestor(t *testing.T) {
	o := Origin{Line: 3, FieldLines: map[string]int{
		"spec": 7, "spec.template.spec.containers[0]": 12, "metadata.labels.app.io/name": 5,
	}}
	for path, want := range map[string]int{
		"spec.template.spec.containers[0].image": 12,
		"spec.template.spec.containers[1].image": 7,
		"metadata.labels[app.io/name]":           5,
		"metadata.name":                          3,
		"":                                       3,
		"]":                                      3,
	} {
		if got := o.LineOf(path); got != want {
			t.Errorf("LineOf(%q) = %d, want %d", path, got, want)
		}
	}
}
