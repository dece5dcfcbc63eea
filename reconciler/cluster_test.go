package reconciler_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler"
	"slipway.dev/slipway/state/statetest"
)

// cluster is an API that serves a few kinds only.
type cluster struct {
	client.Client
	kinds []string
}

func (c cluster) RESTMapper() meta.RESTMapper { return few{c.Client.RESTMapper(), c.kinds} }

type few struct {
	meta.RESTMapper
	kinds []string
}

func (f few) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if !slices.Contains(f.kinds, gk.Kind) {
		return nil, &meta.NoKindMatchError{GroupKind: gk, SearchedVersions: versions}
	}
	return f.RESTMapper.RESTMapping(gk, versions...)
}

func TestAnotherClusterGetsWhatItServes(t *testing.T) {
	target := cluster{statetest.New(t), []string{"ConfigMap", "Service"}}
	w := newWorldOf(t, map[string]string{
		"projects/pp/a.yaml": config("a", "1"), "projects/pp/b.yaml": config("b", "1"), "projects/pp/dc.yaml": plainDC("web"),
	}, func(r *reconciler.Reconciler) { r.Target = target })
	there := func(name string) (*corev1.ConfigMap, error) {
		cm := &corev1.ConfigMap{}
		return cm, target.Get(t.Context(), client.ObjectKey{Namespace: "pp", Name: name}, cm)
	}
	w.applied("pp", "c1")
	app := w.says("pp", reconciler.Complete, metav1.ConditionFalse, "NotServedByTarget: the target does not serve: pp/deploymentconfig/web")
	if len(app.Status.Problems) > 0 || len(app.Status.Inventory) != 2 {
		t.Errorf("status %+v", app.Status)
	}
	w.says("pp", "Ready", metav1.ConditionTrue, "applied c1")
	w.says("root", reconciler.Complete, metav1.ConditionFalse, "namespace/pp")
	if cm, err := there("a"); err != nil || cm.Data["v"] != "1" {
		t.Errorf("%v, %v", cm.Data, err)
	}
	if _, err := w.config("pp", "a"); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is in live state, too: %v", err)
	}

	w.push("c2", map[string]string{"projects/pp/a.yaml": config("a", "2")})
	w.applied("pp", "c2")
	w.eventually("it follows", func() error {
		cm, err := there("a")
		if err == nil && cm.Data["v"] != "2" {
			err = fmt.Errorf("it says %q", cm.Data["v"])
		}
		return err
	})
	if _, err := there("b"); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("what left git is there: %v", err)
	}
}
