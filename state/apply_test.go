package state_test

import (
	"fmt"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kyaml "sigs.k8s.io/yaml"

	"slipway.dev/slipway/state"
)

func manifest(t *testing.T, text string, args ...any) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	must(t, kyaml.Unmarshal(fmt.Appendf(nil, text, args...), &u.Object))
	return u
}

const dcManifest = `
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {namespace: a, name: x}
spec:
  selector: {app: x}
  template:
    metadata: {labels: {app: x}}
    spec:
      containers:
      - name: %s
        image: %s
        env: [{name: %s, value: "1"}]
`

func TestApplyMergesManagers(t *testing.T) { everywhere(t, applyMergesManagers) }

func applyMergesManagers(t *testing.T, c *state.Client) {
	ctx := t.Context()
	apply := func(owner, container, image, env string, opts ...client.PatchOption) (*unstructured.Unstructured, error) {
		u := manifest(t, dcManifest, container, image, env)
		return u, c.Patch(ctx, u, client.Apply, append(opts, client.FieldOwner(owner))...)
	}
	one, err := apply("m1", "c", "a", "A")
	must(t, err)
	again, err := apply("m1", "c", "a", "A")
	must(t, err)
	if again.GetResourceVersion() != one.GetResourceVersion() {
		t.Error("applying the same again wrote something")
	}
	_, err = apply("m2", "c", "a", "B")
	must(t, err)
	var dc appsv1.DeploymentConfig
	key := client.ObjectKey{Namespace: "a", Name: "x"}
	must(t, c.Get(ctx, key, &dc))
	if env := dc.Spec.Template.Spec.Containers[0].Env; len(env) != 2 {
		t.Errorf("env %v", env)
	}
	_, err = apply("m2", "c", "b", "B")
	named(t, err, apierrors.IsConflict, "deploymentconfigs", "x")
	_, err = apply("m2", "c", "b", "B", client.ForceOwnership, client.DryRunAll)
	must(t, err)
	must(t, c.Get(ctx, key, &dc))
	if dc.Spec.Template.Spec.Containers[0].Image != "a" {
		t.Error("a dry run wrote")
	}
	_, err = apply("m2", "c", "b", "C", client.ForceOwnership)
	must(t, err)
	must(t, c.Get(ctx, key, &dc))
	env := dc.Spec.Template.Spec.Containers[0].Env
	if dc.Spec.Template.Spec.Containers[0].Image != "b" || len(env) != 2 || env[0].Name != "A" || env[1].Name != "C" {
		t.Errorf("after force: %+v", dc.Spec.Template.Spec.Containers)
	}
	if len(dc.ManagedFields) != 2 {
		t.Errorf("managers: %v", dc.ManagedFields)
	}
	// What is left out of a later manifest goes, unless another owns it too.
	less := manifest(t, dcManifest, "c", "b", "C")
	unstructured.RemoveNestedField(less.Object, "spec", "selector")
	must(t, c.Patch(ctx, less, client.Apply, client.FieldOwner("m2")))
	must(t, c.Get(ctx, key, &dc))
	if dc.Spec.Selector["app"] != "x" {
		t.Error("a field that another manager owns went")
	}
}

func TestApplyRefuses(t *testing.T) { everywhere(t, applyRefuses) }

func applyRefuses(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for name, tc := range map[string]struct {
		text  string
		opts  []client.PatchOption
		check func(error) bool
	}{
		"no manager":     {`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x}}`, nil, apierrors.IsBadRequest},
		"unknown field":  {`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x}, dta: {a: b}}`, []client.PatchOption{client.FieldOwner("m")}, apierrors.IsBadRequest},
		"managed fields": {`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x, managedFields: []}}`, []client.PatchOption{client.FieldOwner("m")}, apierrors.IsBadRequest},
		"uid of nothing": {`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x, uid: u}}`, []client.PatchOption{client.FieldOwner("m")}, apierrors.IsNotFound},
	} {
		if err := c.Patch(ctx, manifest(t, "%s", tc.text), client.Apply, tc.opts...); !tc.check(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestApplyLeavesStatusAndUpdateOwnsFields(t *testing.T) {
	everywhere(t, applyLeavesStatusAndUpdateOwnsFields)
}

func applyLeavesStatusAndUpdateOwnsFields(t *testing.T, c *state.Client) {
	ctx := t.Context()
	p := pod("a", "x", "n1")
	must(t, c.Create(ctx, p, client.FieldOwner("maker")))
	p.Status.Phase = corev1.PodRunning
	must(t, c.Status().Update(ctx, p, client.FieldOwner("node")))
	u := manifest(t, `{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: x, labels: {l: "1"}}, status: {phase: Failed}}`)
	must(t, c.Patch(ctx, u, client.Apply, client.FieldOwner("git")))
	must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p))
	if p.Status.Phase != corev1.PodRunning || p.Labels["l"] != "1" {
		t.Errorf("applied: %+v", p)
	}
	owners := map[string]string{}
	for _, m := range p.ManagedFields {
		owners[m.Manager] = string(m.Operation) + " " + m.Subresource
	}
	if fmt.Sprint(owners) != fmt.Sprint(map[string]string{"git": "Apply ", "maker": "Update ", "node": "Update status"}) {
		t.Errorf("owners %v", owners)
	}
	image := manifest(t, `{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: x}, spec: {containers: [{name: c, image: other}]}}`)
	named(t, c.Patch(ctx, image, client.Apply, client.FieldOwner("git")), apierrors.IsConflict, "pods", "x")

	status := manifest(t, `{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: x}, spec: {nodeName: n9}, status: {phase: Succeeded}}`)
	must(t, c.Status().Patch(ctx, status, client.Apply, client.FieldOwner("node"), client.ForceOwnership))
	must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p))
	if p.Status.Phase != corev1.PodSucceeded || p.Spec.NodeName != "n1" {
		t.Errorf("status applied: %+v", p)
	}
}

func TestApplyConfigurations(t *testing.T) { everywhere(t, applyConfigurations) }

func applyConfigurations(t *testing.T, c *state.Client) {
	ctx := t.Context()
	ac := coreapply.ConfigMap("x", "a").WithData(map[string]string{"k": "v"})
	must(t, c.Apply(ctx, ac, client.FieldOwner("m")))
	if ac.UID == nil || ac.ResourceVersion == nil {
		t.Errorf("answer %+v", ac)
	}
	u := manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: x}, data: {k: w}}`)
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("n")); !apierrors.IsConflict(err) {
		t.Errorf("conflict: %v", err)
	}
	must(t, c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("n"), client.ForceOwnership))
	if u.GetUID() == "" {
		t.Errorf("answer %v", u.Object)
	}
	must(t, c.Create(ctx, pod("a", "p", "n1")))
	must(t, c.Status().Apply(ctx, coreapply.Pod("p", "a").WithStatus(coreapply.PodStatus().WithPhase(corev1.PodRunning)), client.FieldOwner("m")))
	var p corev1.Pod
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "p"}, &p))
	if p.Status.Phase != corev1.PodRunning {
		t.Errorf("phase %q", p.Status.Phase)
	}
	if err := c.Status().Apply(ctx, coreapply.Pod("absent", "a"), client.FieldOwner("m")); !apierrors.IsNotFound(err) {
		t.Errorf("status of nothing: %v", err)
	}
}

func TestManagedFieldsCanBePatched(t *testing.T) { everywhere(t, managedFieldsCanBePatched) }

func managedFieldsCanBePatched(t *testing.T, c *state.Client) {
	ctx := t.Context()
	cm := configMap("a", "x", "k", "v")
	must(t, c.Create(ctx, cm, client.FieldOwner("kubectl")))
	patch := client.RawPatch("application/json-patch+json", fmt.Appendf(nil,
		`[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"git"},{"op":"replace","path":"/metadata/managedFields/0/operation","value":"Apply"}]`))
	must(t, c.Patch(ctx, cm, patch))
	if len(cm.ManagedFields) != 1 || cm.ManagedFields[0].Manager != "git" || cm.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Errorf("managed fields %+v", cm.ManagedFields)
	}
}
