package state_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state"
)

func configMap(ns, name string, kv ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		cm.Data[kv[i]] = kv[i+1]
	}
	return cm
}

func pod(ns, name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func named(t *testing.T, err error, is func(error) bool, kind, name string) {
	t.Helper()
	if !is(err) {
		t.Errorf("error %v (%T)", err, err)
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		t.Errorf("error %v has no details", err)
	} else if d := status.Status().Details; d.Kind != kind || d.Name != name {
		t.Errorf("error is about %s %s, want %s %s", d.Kind, d.Name, kind, name)
	}
}

func TestCreateGetUpdateDelete(t *testing.T) { everywhere(t, createGetUpdateDelete) }

func createGetUpdateDelete(t *testing.T, c *state.Client) {
	ctx := t.Context()
	cm := configMap("a", "x", "k", "v")
	must(t, c.Create(ctx, cm))
	if cm.UID == "" || cm.ResourceVersion == "" || cm.CreationTimestamp.IsZero() || len(cm.ManagedFields) != 1 {
		t.Errorf("created: %+v", cm.ObjectMeta)
	}
	named(t, c.Create(ctx, configMap("a", "x")), apierrors.IsAlreadyExists, "configmaps", "x")

	var got corev1.ConfigMap
	must(t, c.Get(ctx, client.ObjectKeyFromObject(cm), &got))
	if got.Data["k"] != "v" || got.ResourceVersion != cm.ResourceVersion || got.UID != cm.UID {
		t.Errorf("got %+v", got)
	}
	stale := got.DeepCopy()
	got.Data["k"] = "w"
	got.CreationTimestamp = metav1.Time{}
	must(t, c.Update(ctx, &got))
	rv := got.ResourceVersion
	if rv == stale.ResourceVersion || got.CreationTimestamp.IsZero() {
		t.Errorf("updated: %+v", got.ObjectMeta)
	}
	must(t, c.Update(ctx, &got))
	if got.ResourceVersion != rv {
		t.Errorf("update without change: resourceVersion %s, want %s", got.ResourceVersion, rv)
	}
	stale.Data["k"] = "z"
	named(t, c.Update(ctx, stale), apierrors.IsConflict, "configmaps", "x")
	must(t, c.Update(ctx, configMap("a", "x", "k", "unconditional")))
	other := configMap("a", "x")
	other.UID = "someone-else"
	named(t, c.Update(ctx, other), apierrors.IsConflict, "configmaps", "x")
	named(t, c.Update(ctx, configMap("a", "absent")), apierrors.IsNotFound, "configmaps", "absent")

	must(t, c.Delete(ctx, cm))
	named(t, c.Get(ctx, client.ObjectKeyFromObject(cm), &got), apierrors.IsNotFound, "configmaps", "x")
	named(t, c.Delete(ctx, cm), apierrors.IsNotFound, "configmaps", "x")
}

func TestGetForgetsWhatTheObjectHeld(t *testing.T) { everywhere(t, getForgetsWhatTheObjectHeld) }

func getForgetsWhatTheObjectHeld(t *testing.T, c *state.Client) {
	ctx := t.Context()
	must(t, c.Create(ctx, configMap("a", "x", "k", "v")))
	got := configMap("b", "y", "old", "value")
	got.Labels = map[string]string{"old": "label"}
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, got))
	if len(got.Labels) != 0 || got.Data["old"] != "" || got.Data["k"] != "v" || got.Kind != "ConfigMap" {
		t.Errorf("got %+v", got)
	}
}

func TestRepresentations(t *testing.T) { everywhere(t, representations) }

func representations(t *testing.T, c *state.Client) {
	ctx := t.Context()
	// OpenShift 3's group-less kinds are the same objects.
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "DeploymentConfig",
		"metadata": map[string]any{"namespace": "a", "name": "x", "labels": map[string]any{"l": "1"}},
		"spec": map[string]any{"replicas": int64(2), "selector": map[string]any{"l": "1"}, "template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"l": "1"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}}}},
	}}
	must(t, c.Create(ctx, u))
	if u.GetAPIVersion() != "apps.openshift.io/v1" || u.GetUID() == "" || u.GetResourceVersion() == "" {
		t.Errorf("created %v", u.Object)
	}
	var dc appsv1.DeploymentConfig
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, &dc))
	if dc.Spec.Replicas != 2 {
		t.Errorf("replicas %d", dc.Spec.Replicas)
	}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(u.GroupVersionKind())
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, meta))
	if meta.Labels["l"] != "1" || meta.UID != dc.UID || meta.Kind != "DeploymentConfig" {
		t.Errorf("metadata %+v", meta)
	}
	must(t, c.Patch(ctx, meta, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"m":"2"}}}`))))
	if meta.Labels["m"] != "2" {
		t.Errorf("patched metadata %+v", meta)
	}
	if err := c.Update(ctx, meta); !apierrors.IsBadRequest(err) {
		t.Errorf("update by metadata only: %v", err)
	}
	for _, kind := range []string{"DeploymentConfigList", "DeploymentConfig"} {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(u.GroupVersionKind().GroupVersion().WithKind(kind))
		must(t, c.List(ctx, l))
		if len(l.Items) != 1 || l.Items[0].GetKind() != "DeploymentConfig" || l.GetKind() != "DeploymentConfigList" {
			t.Errorf("list %s: %v", kind, l)
		}
	}
	ml := &metav1.PartialObjectMetadataList{}
	ml.SetGroupVersionKind(u.GroupVersionKind())
	must(t, c.List(ctx, ml))
	if len(ml.Items) != 1 || ml.Items[0].Labels["l"] != "1" {
		t.Errorf("metadata list %+v", ml)
	}
	if err := c.Create(ctx, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Deployment"}}); err == nil {
		t.Error("an unknown kind was created")
	}
}

func TestNamesStayInTheirSegment(t *testing.T) { everywhere(t, namesStayInTheirSegment) }

func namesStayInTheirSegment(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for _, key := range []client.ObjectKey{
		{Namespace: "a", Name: "../b/x"}, {Namespace: "a", Name: ".."}, {Namespace: "a", Name: ""}, {Namespace: "", Name: "x"},
		{Namespace: "a/b", Name: "x"}, {Namespace: "_", Name: "x"}, {Namespace: "a", Name: "x\x00y"}, {Namespace: "a", Name: strings.Repeat("x", 254)},
	} {
		cm := configMap(key.Namespace, key.Name)
		if err := c.Create(ctx, cm); !apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err) {
			t.Errorf("create %q: %v", key, err)
		}
		if err := c.Get(ctx, key, cm); !apierrors.IsBadRequest(err) {
			t.Errorf("get %q: %v", key, err)
		}
	}
}

func TestGenerateName(t *testing.T) { everywhere(t, generateName) }

func generateName(t *testing.T, c *state.Client) {
	ctx := t.Context()
	seen := map[string]bool{}
	for range 3 {
		cm := configMap("a", "")
		cm.GenerateName = strings.Repeat("x", 70) + "-"
		must(t, c.Create(ctx, cm))
		if seen[cm.Name] || len(cm.Name) != 63 {
			t.Errorf("name %q", cm.Name)
		}
		seen[cm.Name] = true
	}
}

func TestDryRunWritesNothing(t *testing.T) { everywhere(t, dryRunWritesNothing) }

func dryRunWritesNothing(t *testing.T, c *state.Client) {
	ctx := t.Context()
	cm := configMap("a", "x", "k", "v")
	must(t, c.Create(ctx, cm, client.DryRunAll))
	if cm.ResourceVersion != "" || cm.UID == "" {
		t.Errorf("dry-run create: %+v", cm.ObjectMeta)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(cm), cm); !apierrors.IsNotFound(err) {
		t.Fatalf("dry run created: %v", err)
	}
	must(t, c.Create(ctx, configMap("a", "x", "k", "v")))
	up := configMap("a", "x", "k", "w")
	must(t, c.Update(ctx, up, client.DryRunAll))
	if up.Data["k"] != "w" {
		t.Errorf("dry-run update answers %v", up.Data)
	}
	must(t, c.Delete(ctx, up, client.DryRunAll))
	must(t, c.Get(ctx, client.ObjectKeyFromObject(up), up))
	if up.Data["k"] != "v" {
		t.Errorf("dry run updated: %v", up.Data)
	}
	if err := c.Create(ctx, configMap("a", "z"), &client.CreateOptions{DryRun: []string{"Some"}}); !apierrors.IsBadRequest(err) {
		t.Errorf("unknown dry run: %v", err)
	}
}

func TestPatches(t *testing.T) { everywhere(t, patches) }

func patches(t *testing.T, c *state.Client) {
	ctx := t.Context()
	rc := func() *corev1.ReplicationController {
		return &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}}
	}
	start := rc()
	start.Spec = corev1.ReplicationControllerSpec{Selector: map[string]string{"l": "1"}, Template: &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"l": "1"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "one", Image: "a"}}}}}
	must(t, c.Create(ctx, start))

	for _, tc := range []struct {
		name, data string
		kind       types.PatchType
		check      func(*corev1.ReplicationController) bool
	}{
		{"merge", `{"metadata":{"labels":{"a":"1"}}}`, types.MergePatchType,
			func(r *corev1.ReplicationController) bool { return r.Labels["a"] == "1" && r.Generation == 1 }},
		{"JSON", `[{"op":"add","path":"/metadata/labels/b","value":"2"},{"op":"test","path":"/metadata/labels/a","value":"1"}]`, types.JSONPatchType,
			func(r *corev1.ReplicationController) bool { return r.Labels["b"] == "2" }},
		{"strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"two","image":"b"}]}}}}`, types.StrategicMergePatchType,
			func(r *corev1.ReplicationController) bool {
				return len(r.Spec.Template.Spec.Containers) == 2 && r.Generation == 2
			}},
		{"status in the main patch", `{"status":{"replicas":7}}`, types.MergePatchType,
			func(r *corev1.ReplicationController) bool { return r.Status.Replicas == 0 }},
	} {
		got := rc()
		if err := c.Patch(ctx, got, client.RawPatch(tc.kind, []byte(tc.data))); err != nil || !tc.check(got) {
			t.Errorf("%s: %v, %+v", tc.name, err, got)
		}
	}
	for name, p := range map[string]client.Patch{
		"failing test": client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/labels/a","value":"2"}]`)),
		"not JSON":     client.RawPatch(types.MergePatchType, []byte(`{`)),
		"wrong type":   client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":"many"}}`)),
	} {
		named(t, c.Patch(ctx, rc(), p), apierrors.IsInvalid, "replicationcontrollers", "x")
		_ = name
	}
	if err := c.Patch(ctx, rc(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"name":"y"}}`))); !apierrors.IsBadRequest(err) {
		t.Errorf("rename: %v", err)
	}
	absent := rc()
	absent.Name = "absent"
	named(t, c.Patch(ctx, absent, client.RawPatch(types.MergePatchType, []byte(`{}`))), apierrors.IsNotFound, "replicationcontrollers", "absent")

	locked := start.DeepCopy()
	locked.Labels = map[string]string{"z": "1"}
	err := c.Patch(ctx, locked, client.MergeFromWithOptions(start, client.MergeFromWithOptimisticLock{}))
	named(t, err, apierrors.IsConflict, "replicationcontrollers", "x")
}

// A patch that names no resourceVersion must not be lost, nor lose another, however many run at once.
func TestRacingPatchesAllLand(t *testing.T) { everywhere(t, racingPatchesAllLand) }

func racingPatchesAllLand(t *testing.T, c *state.Client) {
	ctx := t.Context()
	must(t, c.Create(ctx, configMap("a", "x")))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := c.Patch(ctx, configMap("a", "x"), client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{"k%d":"v"}}`, i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var got corev1.ConfigMap
	must(t, c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, &got))
	if len(got.Data) != 20 {
		t.Errorf("%d of 20 patches are there", len(got.Data))
	}
}

func TestDeleteAllOf(t *testing.T) { everywhere(t, deleteAllOf) }

func deleteAllOf(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for i, ns := range []string{"a", "a", "b"} {
		cm := configMap(ns, fmt.Sprintf("x%d", i))
		cm.Labels = map[string]string{"l": fmt.Sprint(i % 2)}
		must(t, c.Create(ctx, cm))
	}
	must(t, c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("a"), client.MatchingLabels{"l": "0"}))
	var l corev1.ConfigMapList
	must(t, c.List(ctx, &l))
	if len(l.Items) != 2 || l.Items[0].Name != "x1" || l.Items[1].Name != "x2" {
		t.Errorf("left: %+v", l.Items)
	}
}

func TestTooLarge(t *testing.T) { everywhere(t, tooLarge) }

func tooLarge(t *testing.T, c *state.Client) {
	cm := configMap("a", "x")
	cm.BinaryData = map[string][]byte{"big": make([]byte, 3<<20)}
	if err := c.Create(context.Background(), cm); !apierrors.IsRequestEntityTooLargeError(err) && !apierrors.IsInvalid(err) {
		t.Errorf("error %v", err)
	}
}

func TestMapperAndScopes(t *testing.T) { everywhere(t, mapperAndScopes) }

func mapperAndScopes(t *testing.T, c *state.Client) {
	for _, k := range api.Kinds() {
		m, err := c.RESTMapper().RESTMapping(k.GroupKind(), k.Version)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Resource.Resource != k.Resource || (m.Scope.Name() == "namespace") != k.Namespaced {
			t.Errorf("%s maps to %+v", k.GroupVersionKind, m)
		}
		obj, err := c.Scheme().New(k.GroupVersionKind)
		must(t, err)
		gvk, err := c.GroupVersionKindFor(obj)
		if err != nil || gvk != k.GroupVersionKind {
			t.Errorf("%T is %v, %v", obj, gvk, err)
		}
		if ns, err := c.IsObjectNamespaced(obj); err != nil || ns != k.Namespaced {
			t.Errorf("%T namespaced: %v, %v", obj, ns, err)
		}
	}
}

func TestEveryKindHasFieldManagers(t *testing.T) { everywhere(t, everyKindHasFieldManagers) }

func everyKindHasFieldManagers(t *testing.T, c *state.Client) {
	ctx := t.Context()
	for _, k := range api.Kinds() {
		if k.Kind == "Event" {
			continue
		}
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "x", "labels": map[string]any{"l": "1"}}}}
		u.SetGroupVersionKind(k.GroupVersionKind)
		if k.Namespaced {
			u.SetNamespace("a")
		}
		err := c.Patch(ctx, u, client.Apply, client.FieldOwner("m"), client.DryRunAll)
		if apierrors.IsInvalid(err) {
			continue // it got as far as validation
		}
		if err != nil || len(u.GetManagedFields()) != 1 {
			t.Errorf("%s: %v, managed fields %v", k.GroupVersionKind, err, u.GetManagedFields())
		}
	}
}
