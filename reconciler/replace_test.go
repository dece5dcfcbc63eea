package reconciler_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler"
)

func withAnnotation(text, annotation string) string {
	return strings.Replace(text, "  name:", "  annotations: {"+annotation+"}\n  name:", 1)
}

func TestObjectsSayHowTheyAreApplied(t *testing.T) {
	w := newWorld(t, map[string]string{
		"projects/pp/once.yaml":   withAnnotation(config("once", "1"), "slipway.dev/ssa: IfNotPresent"),
		"projects/pp/never.yaml":  withAnnotation(config("never", "1"), "slipway.dev/ssa: Ignore"),
		"projects/pp/part.yaml":   withAnnotation(config("part", "1"), "slipway.dev/ignore: /data/v"),
		"projects/pp/anchor.yaml": config("anchor", "1"),
		"projects/pp/flux.yaml":   withAnnotation(config("flux", "1"), "kustomize.toolkit.fluxcd.io/prune: disabled"),
	})
	w.applied("pp", "c1")
	w.says("pp", "Ready", metav1.ConditionTrue, "applied c1")
	for _, name := range []string{"once", "part"} {
		w.configIs("pp", name, "1")
		cm, err := w.config("pp", name)
		w.must(err)
		cm.Data["v"] = "by hand"
		w.must(w.client.Update(t.Context(), cm))
	}
	if _, err := w.config("pp", "never"); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("an ignored object was made: %v", err)
	}
	w.push("c2", map[string]string{
		"projects/pp/once.yaml":   withAnnotation(config("once", "2"), "slipway.dev/ssa: IfNotPresent"),
		"projects/pp/part.yaml":   withAnnotation(config("part", "2"), "slipway.dev/ignore: /data/v") + "  w: other\n",
		"projects/pp/anchor.yaml": config("anchor", "2"),
	})
	w.applied("pp", "c2")
	w.configIs("pp", "anchor", "2")
	w.configIs("pp", "once", "by hand")
	w.configIs("pp", "part", "by hand")
	w.configIs("pp", "flux", "1")
	if cm, err := w.config("pp", "part"); err != nil || cm.Data["w"] != "other" {
		t.Errorf("what is not ignored: %v, %v", cm.Data, err)
	}
}

const claim = `apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
`

func TestWhatCannotBeChangedIsReplacedWhereAskedFor(t *testing.T) {
	w := newWorld(t, map[string]string{"projects/pp/a.yaml": claim})
	get := func() (*corev1.PersistentVolumeClaim, error) {
		pvc := &corev1.PersistentVolumeClaim{}
		return pvc, w.client.Get(t.Context(), client.ObjectKey{Namespace: "pp", Name: "data"}, pvc)
	}
	w.applied("pp", "c1")
	first, err := get()
	w.must(err)
	many := strings.Replace(claim, "ReadWriteOnce", "ReadWriteMany", 1)
	w.push("c2", map[string]string{"projects/pp/a.yaml": many})
	w.says("pp", "Ready", metav1.ConditionFalse, "annotate it with slipway.dev/force: enabled")
	if now, err := get(); err != nil || now.UID != first.UID {
		t.Errorf("it is %v, %v", now.UID, err)
	}
	w.push("c3", map[string]string{"projects/pp/a.yaml": withAnnotation(many, "slipway.dev/force: enabled")})
	// A claim that is replaced is a claim that is deleted.
	app := w.says("pp", "Ready", metav1.ConditionFalse, reconciler.ReasonBrakes)
	w.eventually("brakes are off", func() error {
		app = w.application("pp")
		app.Spec.Brakes = &v1alpha1.Brakes{Disabled: true}
		return w.client.Update(t.Context(), app)
	})
	w.applied("pp", "c3")
	w.eventually("it is another", func() error {
		now, err := get()
		if err == nil && (now.UID == first.UID || now.Spec.AccessModes[0] != corev1.ReadWriteMany) {
			err = fmt.Errorf("%s has %v", now.UID, now.Spec.AccessModes)
		}
		return err
	})
}
