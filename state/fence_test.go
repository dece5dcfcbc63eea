package state_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
)

// A leader whose lease ran out, and who does not know yet, can read but write nothing.
func TestFormerLeaderCannotWrite(t *testing.T) {
	t.Parallel()
	endpoint, key := cluster(t), filepath.Join(t.TempDir(), "seal.key")
	o := state.Options{Endpoints: []string{endpoint}, KeyFile: key}
	one, two := open(t, o).Client(), open(t, o).Client()
	ctx := t.Context()
	must(t, one.Create(ctx, configMap("a", "x", "k", "0")))

	leading, ended := make(chan context.Context), make(chan error, 2)
	lead := func(c *state.Client) {
		ended <- c.Lead(ctx, "server", func(ctx context.Context) { leading <- ctx; <-ctx.Done() })
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
	must(t, one.Create(ctx, pod))
	pod.Spec.NodeName = "n1"
	go lead(one)
	old := context.WithoutCancel(<-leading) // of a process that slept and knows nothing
	must(t, one.Update(old, configMap("a", "x", "k", "1")))
	applyMany := func(ctx context.Context) error {
		u := manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: many}, data: {by: one}}`)
		return one.ApplyMany(ctx, []*unstructured.Unstructured{u}, client.ApplyOptions{FieldManager: "m"})[0].Err
	}
	must(t, applyMany(old))
	must(t, one.Delete(old, configMap("a", "many")))

	// Its lease runs out: etcd removes its key.
	raw, err := one.Raw(ctx)
	must(t, err)
	for k := range raw {
		if strings.Contains(k, "/.lead/") {
			must(t, one.DeleteRaw(ctx, k))
		}
	}
	go lead(two)
	now := <-leading
	for name, err := range map[string]error{
		"create": one.Create(old, configMap("a", "y")),
		"update": one.Update(old, configMap("a", "x", "k", "2")),
		"patch":  one.Patch(old, configMap("a", "x"), client.RawPatch(types.MergePatchType, []byte(`{"data":{"k":"3"}}`))),
		"apply":  one.Patch(old, manifest(t, `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: z}}`), client.Apply, client.FieldOwner("m")),
		"many":   applyMany(old),
		"bind":   one.Bind(old, []*corev1.Pod{pod})[0],
		"delete": one.Delete(old, configMap("a", "x")),
	} {
		if !errors.Is(err, state.ErrDeposed) {
			t.Errorf("%s by the former leader: %v", name, err)
		}
	}
	var l corev1.ConfigMapList
	must(t, one.List(old, &l))
	if len(l.Items) != 1 || l.Items[0].Data["k"] != "1" {
		t.Errorf("live state: %+v", l.Items)
	}
	must(t, two.Update(now, configMap("a", "x", "k", "4")))
	// Others write without leading, and a leader's race with them is no loss of leadership.
	must(t, one.Update(ctx, configMap("a", "x", "k", "5")))
	must(t, two.Patch(now, configMap("a", "x"), client.RawPatch(types.MergePatchType, []byte(`{"data":{"k":"6"}}`))))
}
