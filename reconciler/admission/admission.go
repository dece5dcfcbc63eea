// Package admission asks live state whether a pod may be made: by the SecurityContextConstraints that its service
// account may use (package api/constraints decides). The server asks it about every pod on its way into live state,
// whoever makes it; the reconciler about the templates of a commit, so that a refusal has a file and a line.
package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	projectv1 "github.com/openshift/api/project/v1"
	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
	"slipway.dev/slipway/api/constraints"
)

// Admit is state.Options.Admit: a pod gets what the constraints fill in, and the annotation that names them. One that
// may not be made is Forbidden.
func Admit(ctx context.Context, r client.Reader, obj client.Object) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	admitted, err := Ask(ctx, r, pod, Brought{})
	var refusal *constraints.Refusal
	switch {
	case errors.As(err, &refusal):
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, pod.Name, refusal)
	case err != nil:
		return fmt.Errorf("admit pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	*pod = *admitted
	return nil
}

// Brought is what a plan will have made before its pods are: it goes before what live state has.
type Brought struct {
	constraints.Policy
	// Gone are names of constraints that the plan takes away.
	Gone []string
	// Ranges stand for those of a project that has none yet; nil: such a project is refused.
	Ranges map[string]string
}

// Strict says that what everybody may have by itself was declared to be something else.
func Strict(ctx context.Context, r client.Reader, b Brought) (bool, error) {
	declared, err := declared(ctx, r, b)
	return slices.ContainsFunc(declared, func(c securityv1.SecurityContextConstraints) bool { return c.Name == constraints.Everybody }), err
}

// declared are the constraints of live state, with what a plan makes of them.
func declared(ctx context.Context, r client.Reader, b Brought) ([]securityv1.SecurityContextConstraints, error) {
	var live securityv1.SecurityContextConstraintsList
	if err := r.List(ctx, &live); err != nil {
		return nil, fmt.Errorf("read the SecurityContextConstraints: %w", err)
	}
	left := slices.DeleteFunc(live.Items, func(c securityv1.SecurityContextConstraints) bool {
		return slices.Contains(b.Gone, c.Name) || slices.ContainsFunc(b.Constraints, func(n securityv1.SecurityContextConstraints) bool { return n.Name == c.Name })
	})
	return append(left, b.Constraints...), nil
}

// Ask answers as constraints.Question does.
func Ask(ctx context.Context, r client.Reader, pod *corev1.Pod, b Brought) (*corev1.Pod, error) {
	declared, err := declared(ctx, r, b)
	if err != nil {
		return nil, err
	}
	return constraints.Question{
		Pod: pod, Declared: declared,
		Project: func() (map[string]string, error) {
			var p projectv1.Project
			err := r.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &p)
			if client.IgnoreNotFound(err) != nil {
				return nil, fmt.Errorf("read project %s: %w", pod.Namespace, err)
			}
			if p.Annotations[api.UIDRangeAnnotation] == "" && b.Ranges != nil {
				return b.Ranges, nil
			}
			return p.Annotations, nil
		},
		Access: func() (access.Policy, error) { return policy(ctx, r, pod.Namespace, b.Access) },
	}.Answer()
}

// policy is the cluster's and the project's, with what a plan brings before it.
func policy(ctx context.Context, r client.Reader, project string, brought access.Policy) (access.Policy, error) {
	var clusterRoles rbacv1.ClusterRoleList
	var clusterBindings rbacv1.ClusterRoleBindingList
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	for list, in := range map[client.ObjectList]client.InNamespace{&clusterRoles: "", &clusterBindings: "", &roles: client.InNamespace(project), &bindings: client.InNamespace(project)} {
		if err := r.List(ctx, list, in); err != nil {
			return access.Policy{}, fmt.Errorf("read the policy of project %s: %w", project, err)
		}
	}
	return access.Policy{
		Roles: append(brought.Roles, roles.Items...), RoleBindings: append(brought.RoleBindings, bindings.Items...),
		ClusterRoles: append(brought.ClusterRoles, clusterRoles.Items...), ClusterRoleBindings: append(brought.ClusterRoleBindings, clusterBindings.Items...),
	}, nil
}
