package reconciler

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Complete is the condition that says of an Application on another cluster whether that
// serves every kind it declares.
const Complete = "Complete"

// ReasonNotServed is its reason where it does not.
const ReasonNotServed = "NotServedByTarget"

// divided is two APIs seen as one: Slipway's own kinds are in live state, and what they
// declare is on another cluster. A kind that the cluster does not serve has no objects there.
type divided struct {
	client.Client
	target client.Client
}

func (d divided) of(o runtime.Object) (client.Client, error) {
	gvk, err := apiutil.GVKForObject(o, d.Scheme())
	if err != nil {
		return nil, err
	}
	return d.ofGroup(gvk.Group), nil
}

func (d divided) ofGroup(group string) client.Client {
	if group == v1alpha1.GroupVersion.Group {
		return d.Client
	}
	return d.target
}

// Get implements client.Client.
func (d divided) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	c, err := d.of(o)
	if err != nil {
		return err
	}
	return c.Get(ctx, key, o, opts...)
}

// List implements client.Client.
func (d divided) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c, err := d.of(list)
	if err != nil {
		return err
	}
	if err := c.List(ctx, list, opts...); !meta.IsNoMatchError(err) {
		return err
	}
	return meta.SetList(list, nil)
}

// Patch implements client.Client.
func (d divided) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	c, err := d.of(o)
	if err != nil {
		return err
	}
	return c.Patch(ctx, o, patch, opts...)
}

// Delete implements client.Client.
func (d divided) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	c, err := d.of(o)
	if err != nil {
		return err
	}
	return c.Delete(ctx, o, opts...)
}

// Create implements client.Client.
func (d divided) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	c, err := d.of(o)
	if err != nil {
		return err
	}
	return c.Create(ctx, o, opts...)
}

// Update implements client.Client.
func (d divided) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	c, err := d.of(o)
	if err != nil {
		return err
	}
	return c.Update(ctx, o, opts...)
}

var namespaces = corev1.SchemeGroupVersion.WithKind("Namespace")

// isNamespace: everything else of a project needs it.
func isNamespace(gk schema.GroupKind) bool { return gk == namespaces.GroupKind() }

// forTarget is what of the desired objects goes to the target: a Project becomes a
// Namespace, and what the target does not serve stays behind, named. Without a target
// everything is as it was.
func (r *Reconciler) forTarget(want api.Desired) (out api.Desired, unserved []string, err error) {
	if r.Target == nil {
		return want, nil, nil
	}
	out = api.Desired{Depends: want.Depends}
	served := map[schema.GroupVersionKind]bool{}
	for _, o := range want.Objects {
		if o.GetKind() == "Project" {
			o.Unstructured = namespaceOf(o.Unstructured)
		}
		gvk := o.GroupVersionKind()
		if gvk.Group != v1alpha1.GroupVersion.Group {
			ok, known := served[gvk]
			if !known {
				if ok, err = serves(r.Target.RESTMapper(), gvk); err != nil {
					return out, nil, fmt.Errorf("kinds of the target: %w", err)
				}
				served[gvk] = ok
			}
			if !ok {
				unserved = append(unserved, api.ObjectName(o.Unstructured))
				continue
			}
		}
		out.Objects = append(out.Objects, o)
	}
	slices.Sort(unserved)
	return out, unserved, nil
}

// serves says whether an API has a kind. That it cannot be asked is an error, never a no.
func serves(mapper meta.RESTMapper, gvk schema.GroupVersionKind) (bool, error) {
	_, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

// namespaceOf is the Namespace that a Project is on a cluster that has no projects.
func namespaceOf(project *unstructured.Unstructured) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(namespaces)
	o.SetName(project.GetName())
	o.SetLabels(project.GetLabels())
	o.SetAnnotations(project.GetAnnotations())
	return o
}

// setComplete says what of an Application the target does not serve.
func setComplete(s *v1alpha1.ApplicationStatus, generation int64, unserved []string) {
	if len(unserved) == 0 {
		meta.RemoveStatusCondition(&s.Conditions, Complete)
		return
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: Complete, Status: metav1.ConditionFalse, Reason: ReasonNotServed, ObservedGeneration: generation,
		Message: cut("the target does not serve: "+list(unserved), 4<<10),
	})
}
