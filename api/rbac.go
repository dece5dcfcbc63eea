package api

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateRole(r *rbacv1.Role) field.ErrorList {
	var errs field.ErrorList
	for i, rule := range r.Rules {
		at := field.NewPath("rules").Index(i)
		errs = append(errs, validatePolicyRule(rule, at)...)
		if len(rule.NonResourceURLs) > 0 {
			errs = append(errs, field.Forbidden(at.Child("nonResourceURLs"), "namespaced rules cannot apply to non-resource URLs"))
		}
	}
	return errs
}

func validateClusterRole(r *rbacv1.ClusterRole) field.ErrorList {
	var errs field.ErrorList
	for i, rule := range r.Rules {
		errs = append(errs, validatePolicyRule(rule, field.NewPath("rules").Index(i))...)
	}
	return errs
}

func validatePolicyRule(r rbacv1.PolicyRule, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Verbs) == 0 {
		errs = append(errs, field.Required(p.Child("verbs"), "verbs must contain at least one value"))
	}
	if len(r.NonResourceURLs) > 0 {
		if len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0 {
			errs = append(errs, field.Forbidden(p.Child("nonResourceURLs"), "rules cannot apply to both regular resources and non-resource URLs"))
		}
		return errs
	}
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(p.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	if len(r.Resources) == 0 {
		errs = append(errs, field.Required(p.Child("resources"), "resource rules must supply at least one resource"))
	}
	return errs
}

func defaultRoleBinding(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }

func defaultClusterRoleBinding(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	setDefault(&ref.APIGroup, rbacv1.GroupName)
	for i := range subjects {
		if k := subjects[i].Kind; k == rbacv1.UserKind || k == rbacv1.GroupKind {
			setDefault(&subjects[i].APIGroup, rbacv1.GroupName)
		}
	}
}

func validateRoleBinding(b *rbacv1.RoleBinding) field.ErrorList {
	return validateBinding(b.RoleRef, b.Subjects, "Role", "ClusterRole")
}

func validateClusterRoleBinding(b *rbacv1.ClusterRoleBinding) field.ErrorList {
	return validateBinding(b.RoleRef, b.Subjects, "ClusterRole")
}

func validateBinding(ref rbacv1.RoleRef, subjects []rbacv1.Subject, roles ...string) field.ErrorList {
	p := field.NewPath("roleRef")
	errs := oneOf(p.Child("apiGroup"), ref.APIGroup, rbacv1.GroupName)
	errs = append(errs, oneOf(p.Child("kind"), ref.Kind, roles...)...)
	errs = append(errs, named(p.Child("name"), ref.Name, func(s string) []string { return nameIsPathSegment(s, false) })...)
	for i, s := range subjects {
		at := field.NewPath("subjects").Index(i)
		errs = append(errs, named(at.Child("name"), s.Name, func(string) []string { return nil })...)
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			errs = append(errs, invalid(at.Child("name"), s.Name, validation.IsDNS1123Subdomain(s.Name))...)
			if s.Namespace == "" && !slices.Contains(roles, "Role") {
				errs = append(errs, field.Required(at.Child("namespace"), ""))
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
			errs = append(errs, oneOf(at.Child("apiGroup"), s.APIGroup, rbacv1.GroupName)...)
		default:
			errs = append(errs, oneOf(at.Child("kind"), s.Kind, rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind)...)
		}
	}
	return errs
}

// A binding's role may not change: who could change it could give away more than the
// one who made the binding meant to.
func updateRoleBinding(n, old *rbacv1.RoleBinding) field.ErrorList {
	return immutable(n.RoleRef, old.RoleRef, field.NewPath("roleRef"))
}

func updateClusterRoleBinding(n, old *rbacv1.ClusterRoleBinding) field.ErrorList {
	return immutable(n.RoleRef, old.RoleRef, field.NewPath("roleRef"))
}
