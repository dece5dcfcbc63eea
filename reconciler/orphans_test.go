package reconciler_test

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler"
)

func TestOrphansAreReported(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": ""})
	in := func(name string, change ...func(*metav1.ObjectMeta)) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "pp", Name: name}
		for _, f := range change {
			f(&m)
		}
		return m
	}
	owned := func(m *metav1.ObjectMeta) {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "lonely", UID: "u"}}
	}
	declared := func(m *metav1.ObjectMeta) {
		m.Labels = map[string]string{reconciler.OwnerName: "root", reconciler.OwnerNamespace: "slipway"}
	}
	ofNobody := func(m *metav1.ObjectMeta) {
		m.Labels = map[string]string{reconciler.OwnerName: "gone", reconciler.OwnerNamespace: "slipway"}
	}
	// A set's claim is the set's, and somebody's to look at when the set is gone.
	claim := func(name, set string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: in(name, func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{api.AnnotationSet: set} }),
			Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}},
		}
	}
	of := map[string]string{"app": "db"}
	set := &appsv1.StatefulSet{ObjectMeta: in("db", declared), Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: of},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: of}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "db", Image: "db:1"}}}}}}
	for _, o := range []client.Object{
		set, claim("data-db-0", "db"), claim("data-gone-0", "gone"),
		&corev1.ConfigMap{ObjectMeta: in("lonely")}, &corev1.ConfigMap{ObjectMeta: in("owned", owned)}, &corev1.ConfigMap{ObjectMeta: in("left", ofNobody)},
		&corev1.ConfigMap{ObjectMeta: in("declared", declared)}, &corev1.ServiceAccount{ObjectMeta: in("default")}, &corev1.ServiceAccount{ObjectMeta: in("robot")},
		&rbacv1.RoleBinding{ObjectMeta: in("system:deployers"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "x"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "elsewhere"}},
	} {
		w.must(w.client.Create(t.Context(), o))
	}
	w.push("c2", map[string]string{"projects/pp/a.yaml": config("a", "1")})
	w.eventually("they are in the status", func() error {
		got := w.application("pp").Status.Orphans
		if want := []string{"pp/configmap/left", "pp/configmap/lonely", "pp/persistentvolumeclaim/data-gone-0", "pp/serviceaccount/robot"}; !slices.Equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
}
