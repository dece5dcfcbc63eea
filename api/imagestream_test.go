package api

import (
	"testing"

	imagev1 "github.com/openshift/api/image/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	s := &imagev1.ImageStream{}
	s.Status.DockerImageRepository = "registry:5000/shop/web"
	s.Status.Tags = []imagev1.NamedTagEventList{
		{Tag: "latest", Items: []imagev1.TagEvent{{DockerImageReference: "hub/web@sha256:2", Image: "sha256:2"}, {DockerImageReference: "hub/web@sha256:1", Image: "sha256:1"}}},
		{Tag: "none"},
	}
	check := func(tag, wantReference string, wantOK bool) {
		t.Helper()
		if ref, _, ok := Resolve(s, tag); ref != wantReference || ok != wantOK {
			t.Errorf("%q: %q, %v, want %q, %v", tag, ref, ok, wantReference, wantOK)
		}
	}
	check("", "hub/web@sha256:2", true)
	check("latest", "hub/web@sha256:2", true)
	check("none", "", false)
	check("other", "", false)
	s.Spec.Tags = []imagev1.TagReference{{Name: "latest", ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.LocalTagReferencePolicy}}}
	check("latest", "registry:5000/shop/web@sha256:2", true)
}

func TestImageLabels(t *testing.T) {
	t.Parallel()
	image := &imagev1.Image{DockerImageMetadata: runtime.RawExtension{Raw: []byte(`{"Config":{"Labels":{"io.openshift.build.commit.id":"abc"}}}`)}}
	labels, err := ImageLabels(image)
	if err != nil || labels[LabelCommit] != "abc" {
		t.Errorf("labels %v, %v", labels, err)
	}
	image.DockerImageMetadata.Raw = []byte("{")
	if _, err := ImageLabels(image); err == nil {
		t.Error("metadata that is not JSON was read")
	}
}
