package state_test

import (
	"testing"

	appsv1 "github.com/openshift/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/statetest"
)

func configMap(ns, name string, kv ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		cm.Data[kv[i]] = kv[i+1]
	}
	return cm
}

func TestCreateGetUpdateDelete(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	cm := configMap("a", "x", "k", "v")
	if err := c.Create(ctx, cm); err != nil {
		t.Fatal(err)
	}
	if cm.UID == "" || cm.ResourceVersion == "" || cm.CreationTimestamp.IsZero() || len(cm.ManagedFields) != 1 {
		t.Errorf("created: %+v", cm.ObjectMeta)
	}
	if err := c.Create(ctx, configMap("a", "x")); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v", err)
	}
	var got corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKeyFromObject(cm), &got); err != nil {
		t.Fatal(err)
	}
	if got.Data["k"] != "v" || got.ResourceVersion != cm.ResourceVersion {
		t.Errorf("got %+v", got)
	}
	stale := got.DeepCopy()
	got.Data["k"] = "w"
	if err := c.Update(ctx, &got); err != nil {
		t.Fatal(err)
	}
	rv := got.ResourceVersion
	if rv == stale.ResourceVersion {
		t.Error("resourceVersion did not change")
	}
	if err := c.Update(ctx, &got); err != nil || got.ResourceVersion != rv {
		t.Errorf("update without change: %v, resourceVersion %s, want %s", err, got.ResourceVersion, rv)
	}
	stale.Data["k"] = "z"
	if err := c.Update(ctx, stale); !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v", err)
	}
	if err := c.Delete(ctx, &got); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(cm), &got); !apierrors.IsNotFound(err) {
		t.Errorf("get after delete: %v", err)
	}
	if err := c.Delete(ctx, cm); !apierrors.IsNotFound(err) {
		t.Errorf("second delete: %v", err)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	dc := func(name, env string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps.openshift.io/v1", "kind": "DeploymentConfig",
			"metadata": map[string]any{"namespace": "a", "name": "x"},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
				map[string]any{"name": name, "image": env},
			}}}},
		}}
	}
	if err := c.Patch(ctx, dc("one", "a"), client.Apply, client.FieldOwner("m1")); err != nil {
		t.Fatal(err)
	}
	if err := c.Patch(ctx, dc("two", "b"), client.Apply, client.FieldOwner("m2")); err != nil {
		t.Fatal(err)
	}
	var got appsv1.DeploymentConfig
	if err := c.Get(ctx, client.ObjectKey{Namespace: "a", Name: "x"}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Spec.Template.Spec.Containers) != 2 || got.Generation != 2 || len(got.ManagedFields) != 2 {
		t.Fatalf("got %+v", got)
	}
	if err := c.Patch(ctx, dc("one", "c"), client.Apply, client.FieldOwner("m2")); !apierrors.IsConflict(err) {
		t.Fatalf("err %v", err)
	}
	if err := c.Patch(ctx, dc("one", "c"), client.Apply, client.FieldOwner("m2"), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	if err := c.Create(ctx, configMap("a", "x", "k", "v")); err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(ctx, &corev1.ConfigMapList{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	ev := <-w.ResultChan()
	if ev.Type != watch.Added {
		t.Fatal(ev)
	}
	if err := c.Delete(ctx, configMap("a", "x")); err != nil {
		t.Fatal(err)
	}
	ev = <-w.ResultChan()
	if ev.Type != watch.Deleted || ev.Object.(*corev1.ConfigMap).Data["k"] != "v" {
		t.Fatal(ev)
	}
	var l corev1.ConfigMapList
	if err := c.List(ctx, &l); err != nil || len(l.Items) != 0 || l.ResourceVersion == "" {
		t.Fatal(err, l)
	}
}
