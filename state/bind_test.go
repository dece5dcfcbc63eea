package state_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/statetest"
)

// Each pod is bound or fails by itself, in transactions of many.
func TestBind(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	const many = 250
	made := make([]*corev1.Pod, many)
	for i := range made {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprintf("p%d", i), Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
		must(t, c.Create(ctx, p))
		p.Status.Phase = corev1.PodPending
		must(t, c.Status().Update(ctx, p))
		made[i] = p
	}
	bound := func(p *corev1.Pod) *corev1.Pod {
		next := *p
		next.Spec.NodeName = "n1"
		return &next
	}
	pods := make([]*corev1.Pod, many)
	for i, p := range made {
		pods[i] = bound(p)
	}
	changed := made[3].DeepCopy()
	changed.Labels["app"] = "db"
	must(t, c.Update(ctx, changed))
	must(t, c.Delete(ctx, made[200]))
	pods[7].ResourceVersion, pods[8].Spec.NodeName = "", ""

	for i, err := range c.Bind(ctx, pods) {
		switch {
		case i == 3 && apierrors.IsConflict(err), i == 200 && apierrors.IsNotFound(err), (i == 7 || i == 8) && apierrors.IsBadRequest(err):
			continue
		case err != nil:
			t.Fatalf("pod %d: %v", i, err)
		}
		var now corev1.Pod
		must(t, c.Get(ctx, client.ObjectKeyFromObject(pods[i]), &now))
		if now.ResourceVersion != pods[i].ResourceVersion || now.Generation != made[i].Generation+1 || now.Generation != pods[i].Generation {
			t.Errorf("pod %d: revision %s and generation %d, told %s and %d", i, now.ResourceVersion, now.Generation, pods[i].ResourceVersion, pods[i].Generation)
		}
		want := bound(made[i])
		want.ResourceVersion, want.Generation = now.ResourceVersion, now.Generation
		if !equality.Semantic.DeepEqual(want, &now) {
			t.Errorf("pod %d: more has changed than its node: %+v", i, now)
		}
	}
	var now corev1.Pod
	must(t, c.Get(ctx, client.ObjectKeyFromObject(changed), &now))
	if now.Spec.NodeName != "" || now.Labels["app"] != "db" {
		t.Errorf("a pod that has changed meanwhile: %+v", now)
	}
	// Twice is once too often, and bound pods are written like any others.
	if err := c.Bind(ctx, []*corev1.Pod{bound(made[0])})[0]; !apierrors.IsConflict(err) {
		t.Errorf("bound again: %v", err)
	}
	must(t, c.Get(ctx, client.ObjectKeyFromObject(made[0]), &now))
	now.Labels["more"] = "x"
	must(t, c.Update(ctx, &now))
}
