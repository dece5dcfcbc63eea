package reconciler_test

import (
	"strings"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	imagev1 "github.com/openshift/api/image/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestGoingBackToAnImage is OpenShift's rollback as a commit: the triggers are no longer
// automatic, and the image is git's again.
func TestGoingBackToAnImage(t *testing.T) {
	w := newWorld(t, map[string]string{"dc.yaml": deployment})
	w.applied("root", "c1")
	key := client.ObjectKey{Namespace: "pp", Name: "web"}
	dc := &appsv1.DeploymentConfig{}
	w.must(w.client.Get(t.Context(), key, dc))
	const bad = "registry/pp/web@sha256:" + digest
	dc.Spec.Template.Spec.Containers[0].Image = bad
	dc.Spec.Triggers[1].ImageChangeParams.LastTriggeredImage = bad
	w.must(w.client.Update(t.Context(), dc))

	w.push("c2", map[string]string{"dc.yaml": strings.NewReplacer("automatic: true", "automatic: false", `image: " "`, "image: registry/pp/web:good").Replace(deployment)})
	w.applied("root", "c2")
	w.must(w.client.Get(t.Context(), key, dc))
	if p := dc.Spec.Triggers[1].ImageChangeParams; p.Automatic || p.LastTriggeredImage != bad || dc.Spec.Template.Spec.Containers[0].Image != "registry/pp/web:good" {
		t.Errorf("image %q, trigger %+v", dc.Spec.Template.Spec.Containers[0].Image, p)
	}
}

// TestATagOfAHookStays: a tagImages hook adds its tag to a stream that git declares, and git's
// next version of the stream leaves it alone.
func TestATagOfAHookStays(t *testing.T) {
	const stream = `apiVersion: image.openshift.io/v1
kind: ImageStream
metadata: {name: web, namespace: pp, labels: {version: "1"}}
spec:
  tags: [{name: base, reference: true, from: {kind: DockerImage, name: "registry.example.com/base:1"}}]
`
	w := newWorld(t, map[string]string{"is.yaml": stream})
	w.applied("root", "c1")
	key := client.ObjectKey{Namespace: "pp", Name: "web"}
	is := &imagev1.ImageStream{}
	w.must(w.client.Get(t.Context(), key, is))
	is.Spec.Tags = append(is.Spec.Tags, imagev1.TagReference{Name: "deployed", From: &corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/web:1"}})
	w.must(w.client.Update(t.Context(), is))
	w.push("c2", map[string]string{"is.yaml": strings.Replace(stream, `version: "1"`, `version: "2"`, 1)})
	w.applied("root", "c2")
	w.must(w.client.Get(t.Context(), key, is))
	if len(is.Spec.Tags) != 2 || is.Spec.Tags[1].Name != "deployed" || is.Labels["version"] != "2" {
		t.Errorf("labels %v, tags %+v", is.Labels, is.Spec.Tags)
	}
}
