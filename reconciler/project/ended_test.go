package project_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/statetest"
)

// TestPodsThatWereReplacedAreNotKeptForEver: one that is evicted again and again leaves as
// many as a person looks at.
func TestPodsThatWereReplacedAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	statetest.Must(t, c.Create(ctx, shop()))
	template := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}}}
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}, Spec: corev1.ReplicationControllerSpec{Template: template}}
	statetest.Must(t, c.Create(ctx, rc))
	pod := func(name string, phase corev1.PodPhase, policy corev1.RestartPolicy, owned bool) {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PodSpec{RestartPolicy: policy, Containers: template.Spec.Containers}}
		if owned {
			p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(rc, corev1.SchemeGroupVersion.WithKind("ReplicationController"))}
		}
		statetest.Must(t, c.Create(ctx, p))
		p.Status.Phase = phase
		statetest.Must(t, c.Status().Update(ctx, p))
	}
	const many = 25
	for i := range many {
		pod(fmt.Sprintf("evicted-%02d", i), corev1.PodFailed, corev1.RestartPolicyAlways, true)
		pod(fmt.Sprintf("alone-%02d", i), corev1.PodFailed, corev1.RestartPolicyAlways, false)
		pod(fmt.Sprintf("hook-%02d", i), corev1.PodSucceeded, corev1.RestartPolicyNever, true)
		pod(fmt.Sprintf("runs-%02d", i), corev1.PodRunning, corev1.RestartPolicyAlways, true)
	}
	run(t, c, &events{})
	left := map[string]bool{}
	statetest.Eventually(t, "the oldest are gone", func() bool {
		var list corev1.PodList
		statetest.Must(t, c.List(ctx, &list, client.InNamespace("shop")))
		clear(left)
		for _, p := range list.Items {
			left[p.Name] = true
		}
		return len(left) <= 3*many+10
	})
	if len(left) != 3*many+10 {
		t.Errorf("%d pods are left", len(left))
	}
	for i := range many {
		if kept := left[fmt.Sprintf("evicted-%02d", i)]; kept != (i >= many-10) {
			t.Errorf("evicted pod %d: is it kept? %v", i, kept)
		}
	}
}
