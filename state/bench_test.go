package state_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func filled(b *testing.B, n int) *state.Client {
	b.Helper()
	c := statetest.New(b)
	for i := range n {
		p := pod(fmt.Sprintf("ns%d", i%10), fmt.Sprintf("p%d", i), "n1")
		p.Labels = map[string]string{"app": "web", "deploymentconfig": "web"}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}
		if err := c.Create(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return c
}

func BenchmarkGet(b *testing.B) {
	c := filled(b, 1)
	var p corev1.Pod
	for b.Loop() {
		if err := c.Get(b.Context(), client.ObjectKey{Namespace: "ns0", Name: "p0"}, &p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList reads one namespace in ten: the time follows the result, not what exists.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%d of %d", n/10, n), func(b *testing.B) {
			c := filled(b, n)
			for b.Loop() {
				var l corev1.PodList
				if err := c.List(b.Context(), &l, client.InNamespace("ns3")); err != nil || len(l.Items) != n/10 {
					b.Fatal(err, len(l.Items))
				}
			}
		})
	}
}

func BenchmarkStatusUpdate(b *testing.B) {
	c := filled(b, 1)
	var p corev1.Pod
	if err := c.Get(b.Context(), client.ObjectKey{Namespace: "ns0", Name: "p0"}, &p); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		p.Status.Message = fmt.Sprint(i)
		if err := c.Status().Update(b.Context(), &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyUnchanged(b *testing.B) {
	c := statetest.New(b)
	dc := &corev1.ReplicationController{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ReplicationController"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"},
		Spec: corev1.ReplicationControllerSpec{Selector: map[string]string{"l": "1"}, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"l": "1"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "one", Image: "a"}}}}}}
	b.ReportAllocs()
	for b.Loop() {
		o := dc.DeepCopy()
		if err := c.Patch(b.Context(), o, client.Apply, client.FieldOwner("git"), client.ForceOwnership); err != nil {
			b.Fatal(err)
		}
	}
}
