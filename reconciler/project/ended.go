package project

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// endedKept is how many pods that have ended are kept of one controller, to be looked at.
const endedKept = 10

// ended deletes pods that have ended and that their controller has replaced, as an eviction
// makes them: one that is evicted again and again would fill live state and its node. The
// newest are kept. Pods that are meant to end, of Jobs and of hooks, are not its business,
// and nor are those that nobody controls.
type ended struct{ Deps }

// keys is the controller of a pod that has ended: its kind and uid.
func (ended) keys(o client.Object) []loop.Key {
	p, ok := o.(*corev1.Pod)
	if !ok || !replaced(p) {
		return nil
	}
	ref := metav1.GetControllerOf(p)
	return []loop.Key{{Namespace: p.Namespace, Name: ref.Kind + "/" + string(ref.UID)}}
}

func replaced(p *corev1.Pod) bool {
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return over && p.DeletionTimestamp == nil && p.Spec.RestartPolicy == corev1.RestartPolicyAlways && metav1.GetControllerOf(p) != nil
}

func (e ended) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var list corev1.PodList
	if err := e.Client.List(ctx, &list, client.InNamespace(key.Namespace)); err != nil {
		return loop.Result{}, err
	}
	all := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !slices.Contains(e.keys(&p), key) })
	slices.SortFunc(all, func(a, b corev1.Pod) int {
		return api.Older(&b, &a)
	})
	for i := range all[min(endedKept, len(all)):] {
		p := &all[endedKept+i]
		uid := p.UID
		if err := e.Client.Delete(ctx, p, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return loop.Result{}, fmt.Errorf("pod %s/%s, which has ended: %w", p.Namespace, p.Name, err)
		}
	}
	return loop.Result{}, nil
}
