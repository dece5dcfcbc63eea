package service

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

type endpoints struct {
	Deps
	selectors *selectors
}

// reconcile keeps the Endpoints of one service. A service without a selector has its
// Endpoints from elsewhere: they stay as they are.
func (e *endpoints) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var s corev1.Service
	err := e.Client.Get(ctx, key, &s)
	if apierrors.IsNotFound(err) {
		e.selectors.forget(key)
		return loop.Result{}, e.remove(ctx, key)
	}
	if err != nil {
		return loop.Result{}, err
	}
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName || s.DeletionTimestamp != nil {
		e.selectors.forget(key)
		return loop.Result{}, nil
	}
	e.selectors.note(key, s.Spec.Selector)
	var pods corev1.PodList
	if err := e.Client.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels(s.Spec.Selector)); err != nil {
		return loop.Result{}, err
	}
	return loop.Result{}, e.write(ctx, &s, Subsets(&s, pods.Items))
}

func (e *endpoints) write(ctx context.Context, s *corev1.Service, subsets []corev1.EndpointSubset) error {
	want := corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Name: s.Name, Namespace: s.Namespace, Labels: maps.Clone(s.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s, corev1.SchemeGroupVersion.WithKind("Service"))},
		},
		Subsets: subsets,
	}
	var have corev1.Endpoints
	err := e.Client.Get(ctx, client.ObjectKeyFromObject(s), &have)
	switch {
	case apierrors.IsNotFound(err):
		err = e.Client.Create(ctx, &want)
	case err != nil:
		return err
	case equality.Semantic.DeepEqual(have.Subsets, want.Subsets) && maps.Equal(have.Labels, want.Labels) &&
		equality.Semantic.DeepEqual(have.OwnerReferences, want.OwnerReferences):
		return nil
	default:
		have.Subsets, have.Labels, have.OwnerReferences = want.Subsets, want.Labels, want.OwnerReferences
		err = e.Client.Update(ctx, &have)
	}
	if err != nil {
		return fmt.Errorf("endpoints %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

// remove deletes the Endpoints of a service that is gone, if they were made for one.
func (e *endpoints) remove(ctx context.Context, key loop.Key) error {
	var have corev1.Endpoints
	if err := e.Client.Get(ctx, key, &have); err != nil {
		return client.IgnoreNotFound(err)
	}
	owner := metav1.GetControllerOf(&have)
	if owner == nil || owner.Kind != "Service" || owner.Name != key.Name {
		return nil
	}
	return client.IgnoreNotFound(e.Client.Delete(ctx, &have, client.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion}))
}
