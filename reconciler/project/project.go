package project

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
)

type projects struct{ Deps }

func (c projects) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var p projectv1.Project
	if err := c.Client.Get(ctx, loop.Key{Name: key.Name}, &p); err != nil {
		return loop.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return c.terminate(ctx, &p)
	}
	if err := c.allocate(ctx, &p); err != nil {
		return loop.Result{}, err
	}
	for _, o := range Furnish(&p) {
		if err := c.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return loop.Result{}, fmt.Errorf("project %s: make %T %s: %w", p.Name, o, o.GetName(), err)
		}
	}
	return loop.Result{}, c.phase(ctx, &p, corev1.NamespaceActive)
}

// allocate writes the finalizer and what the project is given. Whoever wrote last sees
// all projects, so that of two which chose the same, the younger one chooses again.
func (c projects) allocate(ctx context.Context, p *projectv1.Project) error {
	var all projectv1.ProjectList
	if err := c.Client.List(ctx, &all); err != nil {
		return err
	}
	said := &networkv1.NetNamespace{}
	if err := c.Client.Get(ctx, loop.Key{Name: p.Name}, said); apierrors.IsNotFound(err) {
		said = nil
	} else if err != nil {
		return err
	}
	want, wrong := Allocate(p, said, all.Items)
	if wrong != nil {
		c.Events.Event(p, corev1.EventTypeWarning, "NotAllocated", "%v", wrong)
	}
	if want == nil {
		return wrong
	}
	if !maps.Equal(want, p.Annotations) || !slices.Contains(p.Finalizers, api.ProjectFinalizer) {
		p.Annotations = want
		controllerutil.AddFinalizer(p, api.ProjectFinalizer)
		if err := c.Client.Update(ctx, p); err != nil {
			return fmt.Errorf("project %s: write what it is given: %w", p.Name, err)
		}
	}
	return errors.Join(wrong, c.allocateAfter(ctx, p, all.Items))
}

// allocateAfter gives those projects another network that depend on p's: who joins it, and who
// was given a number that p asks for.
func (c projects) allocateAfter(ctx context.Context, p *projectv1.Project, all []projectv1.Project) error {
	id, asks := p.Annotations[api.NetIDAnnotation], strings.HasPrefix(p.Annotations[api.NetIDFromAnnotation], numbered)
	for i := range all {
		o := &all[i]
		from, same := o.Annotations[api.NetIDFromAnnotation], o.Annotations[api.NetIDAnnotation] == id
		if o.Name == p.Name || o.DeletionTimestamp != nil || !(from == "join:"+p.Name && !same || from == "" && same && asks) {
			continue
		}
		if err := c.allocate(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (c projects) phase(ctx context.Context, p *projectv1.Project, phase corev1.NamespacePhase) error {
	if p.Status.Phase == phase {
		return nil
	}
	p.Status.Phase = phase
	return c.Client.Status().Update(ctx, p)
}
