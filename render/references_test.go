package render_test

import (
	"testing"

	"slipway.dev/slipway/render"
)

// A stream may be declared by another application of the project, or of another project:
// the reference is resolved against live state.
func TestStreamsOfOtherApplications(t *testing.T) {
	r := newRenderer(t, render.Options{})
	got, err := r.Render(t.Context(), render.Request{Project: "shop", Application: "shop/a", Tree: tree(map[string]string{
		"a.jsonnet": "local s = import 'slipway.libsonnet'; [s.deploymentConfig('web', 'frontend:latest'), s.deploymentConfig('other', 'elsewhere/x:latest')]",
	})})
	if err != nil || len(got.Objects) != 2 {
		t.Errorf("%d objects, %v", len(got.Objects), err)
	}
}
