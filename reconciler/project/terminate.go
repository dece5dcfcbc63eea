package project

import (
	"context"
	"fmt"
	"slices"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

// emptying is how often a project that goes is looked at until nothing is left. Pods
// take their time to stop, and controllers that have not noticed yet may still add to it.
const emptying = 200 * time.Millisecond

// terminate deletes a project's content, what makes others first, and lets the project
// go when nothing is left.
func (c projects) terminate(ctx context.Context, p *projectv1.Project) (loop.Result, error) {
	if !slices.Contains(p.Finalizers, api.ProjectFinalizer) {
		return loop.Result{}, nil
	}
	if err := c.phase(ctx, p, corev1.NamespaceTerminating); err != nil {
		return loop.Result{}, err
	}
	left := 0
	for _, k := range slices.Backward(api.Kinds()) {
		if !content(k) {
			continue
		}
		n, err := c.clear(ctx, p, k)
		if err != nil {
			return loop.Result{}, err
		}
		left += n
	}
	if left > 0 {
		return loop.Result{After: emptying}, nil
	}
	if err := c.Client.DeleteAllOf(ctx, &corev1.Event{}, client.InNamespace(p.Name)); err != nil {
		return loop.Result{}, fmt.Errorf("project %s: delete events: %w", p.Name, err)
	}
	controllerutil.RemoveFinalizer(p, api.ProjectFinalizer)
	return loop.Result{}, client.IgnoreNotFound(c.Client.Update(ctx, p))
}

// clear deletes a kind's objects in a project, and counts those that were there: an
// empty round is the proof. Objects that came after the project's end began are reported.
func (c projects) clear(ctx context.Context, p *projectv1.Project, k api.Kind) (int, error) {
	list := listOf(k)
	if err := c.Client.List(ctx, list, client.InNamespace(p.Name)); err != nil {
		return 0, err
	}
	n := 0
	err := meta.EachListItem(list, func(item runtime.Object) error {
		n++
		o, ok := item.(client.Object)
		if !ok || o.GetDeletionTimestamp() != nil {
			return nil
		}
		if came := o.GetCreationTimestamp(); p.DeletionTimestamp.Before(&came) {
			c.Events.Event(p, corev1.EventTypeWarning, "ProjectTerminating", "%s %s was written into a project that is being deleted", k.Kind, o.GetName())
		}
		uid := o.GetUID()
		if err := c.Client.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("project %s: delete %s %s: %w", p.Name, k.Kind, o.GetName(), err)
		}
		return nil
	})
	return n, err
}
