package state_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

// An apply that names a resource version is for that state only.
func TestApplyOfAnOlderStateConflicts(t *testing.T) { everywhere(t, applyOfAnOlderStateConflicts) }

func applyOfAnOlderStateConflicts(t *testing.T, c *state.Client) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a"}}
	must(t, c.Create(t.Context(), cm))
	old := cm.ResourceVersion
	cm.Data = map[string]string{"by": "another"}
	must(t, c.Update(t.Context(), cm))
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"mine": "1"},
		"metadata": map[string]any{"namespace": "demo", "name": "a", "resourceVersion": old},
	}}
	err := c.Patch(t.Context(), o, client.Apply, client.FieldOwner("git"), client.ForceOwnership)
	if !apierrors.IsConflict(err) {
		t.Errorf("applied on an older state: %v", err)
	}
}
