package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
	"slipway.dev/slipway/api/constraints"
	"slipway.dev/slipway/api/v1alpha1"
)

// use is a reference to another project, and the object that makes it.
type use struct {
	access.Reference
	object api.DesiredObject
}

func usesOf(objects []api.DesiredObject, registry string) []use {
	var out []use
	for _, o := range objects {
		for _, ref := range access.ReferencesOf(o.Unstructured, registry) {
			out = append(out, use{ref, o})
		}
	}
	return out
}

// authority holds objects against a policy.
type authority struct {
	client  client.Client
	subject access.Subject
	policy  access.Policy
	// named is the policy with the roles that a plan itself brings: what a binding hands
	// out is looked up here, what the subject has never is.
	named access.Policy
	// confined is the platform's, with a repository that is registered for some projects.
	confined bool
	problems api.Problems
}

// authority is nil for Applications of the platform, which may do everything. Without its
// service account an Application may do nothing.
func (r *Reconciler) authority(ctx context.Context, app *v1alpha1.Application) (*authority, error) {
	subject, account := principal(app)
	if subject.IsPlatform() {
		return nil, nil
	}
	var sa corev1.ServiceAccount
	err := r.Client.Get(ctx, account, &sa)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read %s: %w", subject, err)
	}
	if err != nil || sa.DeletionTimestamp != nil {
		return nil, api.Problems{{
			Object: app.Namespace + "/application/" + app.Name, Field: "spec.serviceAccountName",
			Message: fmt.Sprintf("there is no %s, so that nothing is allowed", subject),
		}}
	}
	return &authority{client: r.Client, subject: subject}, nil
}

// confined is for Applications of the platform whose repository is registered for some projects: they may do everything
// there, but nothing reaches out of them, and who hands out the use of constraints gives his pods the host. Nil: the
// repository is for the whole cluster.
func (r *Reconciler) confined(ctx context.Context, app *v1alpha1.Application) (*authority, error) {
	if _, all, err := r.reach(ctx, app); err != nil || all {
		return nil, client.IgnoreNotFound(err)
	}
	return &authority{client: r.Client, subject: access.Platform(), confined: true}, nil
}

// load reads the cluster's policy, and that of projects.
func (a *authority) load(ctx context.Context, projects []string) error {
	var roles rbacv1.ClusterRoleList
	var bindings rbacv1.ClusterRoleBindingList
	for _, list := range []client.ObjectList{&roles, &bindings} {
		if err := a.client.List(ctx, list); err != nil {
			return fmt.Errorf("read the cluster's policy: %w", err)
		}
	}
	a.policy.ClusterRoles, a.policy.ClusterRoleBindings = roles.Items, bindings.Items
	slices.Sort(projects)
	for _, project := range slices.Compact(projects) {
		if project == "" {
			continue
		}
		var roles rbacv1.RoleList
		var bindings rbacv1.RoleBindingList
		for _, list := range []client.ObjectList{&roles, &bindings} {
			if err := a.client.List(ctx, list, client.InNamespace(project)); err != nil {
				return fmt.Errorf("read the policy of project %s: %w", project, err)
			}
		}
		a.policy.Roles = append(a.policy.Roles, roles.Items...)
		a.policy.RoleBindings = append(a.policy.RoleBindings, bindings.Items...)
	}
	a.named = a.policy
	return nil
}

// declare adds the roles that a plan brings to those that its bindings may name.
func (a *authority) declare(steps []Step) {
	for _, s := range steps {
		if s.Action == Prune {
			continue
		}
		switch o := s.desired; o.GetKind() {
		case "Role":
			a.named.Roles = append([]rbacv1.Role{as[rbacv1.Role](o)}, a.named.Roles...)
		case "ClusterRole":
			a.named.ClusterRoles = append([]rbacv1.ClusterRole{as[rbacv1.ClusterRole](o)}, a.named.ClusterRoles...)
		}
	}
}

// request is what a verb on an object asks for. A Project is its own project's.
func request(verb string, o *unstructured.Unstructured) access.Request {
	q := access.Request{Verb: verb, Group: o.GroupVersionKind().Group, Project: o.GetNamespace(), Name: o.GetName()}
	if k, ok := api.KindFor(o.GroupVersionKind().GroupKind()); ok {
		q.Resource = k.Resource
		if k.Kind == "Project" {
			q.Project = o.GetName()
		}
	}
	return q
}

// may says whether the subject may do it, and notes the problem where not.
func (a *authority) may(verb string, o api.DesiredObject) bool {
	q := request(verb, o.Unstructured)
	if q.Resource != "" && a.policy.Allows(a.subject, q) {
		return true
	}
	where := "cluster-wide"
	if q.Project != "" {
		where = "in project " + q.Project
	}
	a.refuse(o, "", fmt.Sprintf("%s may not %s %s %s", a.subject, verb, q.Resource, where))
	return false
}

// grant refuses a role or a binding that hands out more than the subject has itself, unless
// it may escalate roles or bind that one, as in Kubernetes.
func (a *authority) grant(o api.DesiredObject) {
	project := o.GetNamespace()
	if a.confined {
		a.grantHost(o)
		return
	}
	switch o.GetKind() {
	case "Role", "ClusterRole":
		if !a.policy.Allows(a.subject, request("escalate", o.Unstructured)) {
			a.lacking(o, "rules", a.policy.Grants(a.subject, project, as[rbacv1.Role](o.Unstructured).Rules))
		}
	case "RoleBinding", "ClusterRoleBinding":
		ref := as[rbacv1.RoleBinding](o.Unstructured).RoleRef
		q := access.Request{Verb: "bind", Group: rbacv1.GroupName, Resource: strings.ToLower(ref.Kind) + "s", Project: project, Name: ref.Name}
		if a.policy.Allows(a.subject, q) {
			return
		}
		if rules := a.roleOf(o); rules != nil {
			a.lacking(o, "roleRef", a.policy.Grants(a.subject, project, rules))
		}
	}
}

// roleOf are the rules that a binding hands out; nil: they are not known, which is refused.
func (a *authority) roleOf(binding api.DesiredObject) []rbacv1.PolicyRule {
	ref := as[rbacv1.RoleBinding](binding.Unstructured).RoleRef
	rules := a.named.RulesOf(ref, binding.GetNamespace())
	if rules == nil {
		a.refuse(binding, "roleRef.name", fmt.Sprintf("there is no %s %s whose rules could be looked at", ref.Kind, ref.Name))
	}
	return rules
}

// grantHost refuses a role or a binding by which pods may use SecurityContextConstraints.
func (a *authority) grantHost(o api.DesiredObject) {
	var rules []rbacv1.PolicyRule
	switch o.GetKind() {
	case "Role":
		rules = as[rbacv1.Role](o.Unstructured).Rules
	case "RoleBinding":
		rules = a.roleOf(o)
	}
	if access.Mention(rules, constraints.Use("", "")) {
		a.refuse(o, "", "a repository that is registered for some projects cannot hand out the use of securitycontextconstraints")
	}
}

func (a *authority) lacking(o api.DesiredObject, field string, rules []rbacv1.PolicyRule) {
	if len(rules) > 0 {
		r := rules[0]
		a.refuse(o, field, fmt.Sprintf("%s cannot hand out what it does not have, such as %s of %s", a.subject,
			strings.Join(r.Verbs, ", "), strings.Join(append(slices.Clone(r.Resources), r.NonResourceURLs...), ", ")))
	}
}

func (a *authority) refuse(o api.DesiredObject, field, message string) {
	a.problems = append(a.problems, problem(o, field, message))
}

// origin is the step's object and where it comes from.
func (s Step) origin() api.DesiredObject {
	return api.DesiredObject{Unstructured: s.desired, Origin: api.Origin{File: s.File, Line: s.Line, Via: s.Via}}
}

func roleFor(q access.Request) string {
	if q.Resource == "imagestreams/layers" {
		return access.ImagePuller
	}
	return "view"
}

// as reads an object as a type that it is known to fit: it was validated.
func as[T any](o *unstructured.Unstructured) (out T) {
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &out)
	return out
}
