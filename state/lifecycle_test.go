package state_test

import (
	"fmt"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func TestStatusAndGeneration(t *testing.T) { everywhere(t, statusAndGeneration) }

func statusAndGeneration(t *testing.T, c *state.Client) {
	ctx := t.Context()
	p := pod("a", "x", "n1")
	p.Status.Phase = corev1.PodRunning
	must(t, c.Create(ctx, p))
	if p.Status.Phase == corev1.PodRunning || p.Generation != 1 {
		t.Errorf("created with phase %q, generation %d", p.Status.Phase, p.Generation)
	}
	p.Status.Phase, p.Spec.Containers[0].Image, p.Labels = corev1.PodRunning, "other", map[string]string{"l": "1"}
	must(t, c.Status().Update(ctx, p))
	if p.Status.Phase != corev1.PodRunning || p.Spec.Containers[0].Image != "i" || p.Labels != nil || p.Generation != 1 {
		t.Errorf("status update: %+v", p)
	}
	p.Status.Phase, p.Spec.Containers[0].Image = corev1.PodFailed, "other"
	must(t, c.Update(ctx, p))
	if p.Status.Phase != corev1.PodRunning || p.Spec.Containers[0].Image != "other" || p.Generation != 2 {
		t.Errorf("update: %+v", p)
	}
	p.Labels = map[string]string{"l": "1"}
	must(t, c.Update(ctx, p))
	if p.Generation != 2 {
		t.Errorf("a label made generation %d", p.Generation)
	}
	must(t, c.Status().Patch(ctx, p, client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"},"spec":{"nodeName":"n2"}}`))))
	if p.Status.Phase != corev1.PodSucceeded || p.Spec.NodeName != "n1" {
		t.Errorf("status patch: %+v", p)
	}
	must(t, c.Create(ctx, configMap("a", "x")))
	named(t, c.Status().Update(ctx, configMap("a", "x")), apierrors.IsNotFound, "configmaps", "x")
	named(t, c.SubResource("scale").Update(ctx, p), apierrors.IsNotFound, "pods", "x")

	b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b-1"}, Status: buildv1.BuildStatus{Phase: buildv1.BuildPhaseNew}}
	b.Spec.Strategy = buildv1.BuildStrategy{DockerStrategy: &buildv1.DockerBuildStrategy{}}
	b.Spec.Source = buildv1.BuildSource{Git: &buildv1.GitBuildSource{URI: "https://git.example.com/a.git"}}
	must(t, c.Create(ctx, b))
	if b.Status.Phase != buildv1.BuildPhaseNew {
		t.Errorf("build created in phase %q", b.Status.Phase)
	}
}

func TestFinalizersAndPreconditions(t *testing.T) { everywhere(t, finalizersAndPreconditions) }

func finalizersAndPreconditions(t *testing.T, c *state.Client) {
	ctx := t.Context()
	cm := configMap("a", "x")
	cm.Finalizers = []string{"slipway.dev/one", "slipway.dev/two"}
	must(t, c.Create(ctx, cm))
	wrong := types.UID("wrong")
	named(t, c.Delete(ctx, cm, client.Preconditions{UID: &wrong}), apierrors.IsConflict, "configmaps", "x")
	old := cm.ResourceVersion
	must(t, c.Delete(ctx, cm, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	must(t, c.Delete(ctx, cm))
	must(t, c.Get(ctx, client.ObjectKeyFromObject(cm), cm))
	if cm.DeletionTimestamp.IsZero() {
		t.Fatal("no deletionTimestamp")
	}
	named(t, c.Delete(ctx, cm, client.Preconditions{ResourceVersion: &old}), apierrors.IsConflict, "configmaps", "x")
	more := cm.DeepCopy()
	more.Finalizers = append(more.Finalizers, "slipway.dev/three")
	if err := c.Update(ctx, more); !apierrors.IsInvalid(err) {
		t.Errorf("finalizer added while deleting: %v", err)
	}
	cm.Finalizers = cm.Finalizers[:1]
	must(t, c.Update(ctx, cm))
	cm.Finalizers = nil
	must(t, c.Update(ctx, cm))
	if err := c.Get(ctx, client.ObjectKeyFromObject(cm), cm); !apierrors.IsNotFound(err) {
		t.Errorf("after the last finalizer: %v", err)
	}
	must(t, c.Create(ctx, configMap("a", "y")))
	if err := c.Delete(ctx, configMap("a", "y"), client.PropagationPolicy(metav1.DeletePropagationOrphan)); !apierrors.IsBadRequest(err) {
		t.Errorf("orphan: %v", err)
	}
}

func TestPodsStopGracefully(t *testing.T) { everywhere(t, podsStopGracefully) }

func podsStopGracefully(t *testing.T, c *state.Client) {
	ctx := t.Context()
	exists := func(p *corev1.Pod) bool {
		err := c.Get(ctx, client.ObjectKeyFromObject(p), p)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return err == nil
	}
	unbound := pod("a", "unbound", "")
	must(t, c.Create(ctx, unbound))
	must(t, c.Delete(ctx, unbound))
	if exists(unbound) {
		t.Error("a pod without a node remains")
	}
	ended := pod("a", "ended", "n1")
	must(t, c.Create(ctx, ended))
	ended.Status.Phase = corev1.PodSucceeded
	must(t, c.Status().Update(ctx, ended))
	must(t, c.Delete(ctx, ended))
	if exists(ended) {
		t.Error("a pod that has ended remains")
	}
	p, five := pod("a", "x", "n1"), int64(5)
	p.Spec.TerminationGracePeriodSeconds = &five
	must(t, c.Create(ctx, p))
	must(t, c.Delete(ctx, p))
	if !exists(p) || p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 5 || p.Generation != 2 {
		t.Fatalf("deleted pod: %+v", p.ObjectMeta)
	}
	at := p.DeletionTimestamp.Time
	must(t, c.Delete(ctx, p, client.GracePeriodSeconds(60)))
	if exists(p); *p.DeletionGracePeriodSeconds != 5 {
		t.Error("a deletion was put off")
	}
	must(t, c.Delete(ctx, p, client.GracePeriodSeconds(2)))
	if exists(p); *p.DeletionGracePeriodSeconds != 2 || at.Sub(p.DeletionTimestamp.Time).Seconds() != 3 {
		t.Errorf("a shorter grace: %+v", p.ObjectMeta)
	}
	p.Labels = map[string]string{"still": "writable"}
	must(t, c.Update(ctx, p))
	must(t, c.Delete(ctx, p, client.GracePeriodSeconds(0)))
	if exists(p) {
		t.Error("a pod deleted with grace 0 remains")
	}
}

// Creation times are whole seconds: within one, UIDs tell who came first.
func TestObjectsOfOneSecondHaveAnAge(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	last := configMap("a", "z", "k", "v")
	must(t, c.Create(ctx, last))
	for i := range 50 {
		next := configMap("a", fmt.Sprintf("%02d", 99-i), "k", "v")
		must(t, c.Create(ctx, next))
		if api.Older(last, next) >= 0 {
			t.Fatalf("%s is not older than %s", last.UID, next.UID)
		}
		last = next
	}
}
