package statetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Cluster is live state with nodes that answer for pods by writing their status, as runtimes do: those
// that shall run are ready at once, those that shall end have ended, those that are deleted are gone.
type Cluster struct {
	T testing.TB
	C client.WithWatch
	// Sick holds an image, a string, whose pods never become ready.
	Sick atomic.Value
	// Fails has pods that shall end fail.
	Fails atomic.Bool
}

// NewCluster has nodes that answer until the test ends.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	k := &Cluster{T: t, C: New(t)}
	k.Sick.Store("")
	Run(t, k.C, loop.Controller{Name: "node", Watches: []loop.Watch{{List: &corev1.PodList{}}}, Reconcile: k.node})
	return k
}

func (k *Cluster) node(ctx context.Context, key loop.Key) (loop.Result, error) {
	var p corev1.Pod
	if err := k.C.Get(ctx, key, &p); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return loop.Result{}, client.IgnoreNotFound(k.C.Delete(ctx, &p, client.GracePeriodSeconds(0)))
	}
	if p.Status.Phase != "" && p.Status.Phase != corev1.PodPending || p.Spec.Containers[0].Image == k.Sick.Load() {
		return loop.Result{}, nil
	}
	switch {
	case p.Spec.RestartPolicy != corev1.RestartPolicyNever:
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	case k.Fails.Load():
		p.Status.Phase, p.Status.Message = corev1.PodFailed, "no such table"
	default:
		p.Status.Phase = corev1.PodSucceeded
	}
	err := k.C.Status().Update(ctx, &p)
	if apierrors.IsConflict(err) {
		return loop.Result{After: time.Millisecond}, nil
	}
	return loop.Result{}, client.IgnoreNotFound(err)
}

// Heal has no image be sick any more: nodes answer for the pods that they left alone.
func (k *Cluster) Heal() {
	k.T.Helper()
	k.Sick.Store("")
	var list corev1.PodList
	Must(k.T, k.C.List(k.T.Context(), &list))
	for i := range list.Items {
		_, err := k.node(k.T.Context(), client.ObjectKeyFromObject(&list.Items[i]))
		Must(k.T, err)
	}
}

// Create makes objects.
func (k *Cluster) Create(objs ...client.Object) {
	k.T.Helper()
	for _, o := range objs {
		Must(k.T, k.C.Create(k.T.Context(), o))
	}
}

// Eventually looks until it holds; the last detail is told of a test that fails.
func (k *Cluster) Eventually(what string, holds func() (bool, string)) {
	k.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		ok, detail := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			k.T.Fatalf("%s: %s", what, detail)
		}
	}
}
