package access

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// Request is what is asked for. Resource is the plural, with a subresource after a slash.
type Request struct {
	Verb, Group, Resource string
	// Project the object is in; empty: it is cluster-wide.
	Project string
	Name    string
}

// Policy is the roles and bindings that a decision is made from: those of every project
// that the request concerns, and the cluster's.
type Policy struct {
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// Allows says whether the subject may do it.
func (p Policy) Allows(s Subject, r Request) bool {
	if s.platform {
		return true
	}
	rule := rbacv1.PolicyRule{Verbs: []string{r.Verb}, APIGroups: []string{r.Group}, Resources: []string{r.Resource}}
	if r.Name != "" {
		rule.ResourceNames = []string{r.Name}
	}
	ok, _ := validation.Covers(p.rulesOf(s, r.Project), []rbacv1.PolicyRule{rule})
	return ok
}

// Grants says whether the subject may hand out the rules in a project, or cluster-wide
// where project is empty: nobody grants what he does not have, as in Kubernetes. It
// answers with the rules that he lacks.
func (p Policy) Grants(s Subject, project string, rules []rbacv1.PolicyRule) (lacking []rbacv1.PolicyRule) {
	if s.platform || len(rules) == 0 {
		return nil
	}
	_, lacking = validation.Covers(p.rulesOf(s, project), rules)
	return lacking
}

// rulesOf collects what a subject may do in a project: what the cluster's bindings give it,
// and the project's.
func (p Policy) rulesOf(s Subject, project string) []rbacv1.PolicyRule {
	if s.Name == "" {
		return nil
	}
	var rules []rbacv1.PolicyRule
	means := func(namespace string) func(rbacv1.Subject) bool {
		return func(bound rbacv1.Subject) bool { return s.is(bound, namespace) }
	}
	for _, b := range p.ClusterRoleBindings {
		if slices.ContainsFunc(b.Subjects, means("")) {
			rules = append(rules, p.RulesOf(b.RoleRef, "")...)
		}
	}
	for _, b := range p.RoleBindings {
		if project != "" && b.Namespace == project && slices.ContainsFunc(b.Subjects, means(project)) {
			rules = append(rules, p.RulesOf(b.RoleRef, project)...)
		}
	}
	return rules
}

// RulesOf are the rules of the role that a binding in a project names; a role that is not
// there gives none. The roles that OpenShift brings along need not be declared.
func (p Policy) RulesOf(ref rbacv1.RoleRef, project string) []rbacv1.PolicyRule {
	if ref.Kind == "Role" {
		for _, r := range p.Roles {
			if r.Name == ref.Name && r.Namespace == project && project != "" {
				return r.Rules
			}
		}
		return nil
	}
	for _, r := range p.ClusterRoles {
		if r.Name == ref.Name {
			return r.Rules
		}
	}
	return builtin[ref.Name]
}

// Mention says whether rules allow the verb on the resource at all, be it for some names only.
func Mention(rules []rbacv1.PolicyRule, r Request) bool {
	named := func(all []string, name string) bool {
		return slices.Contains(all, name) || slices.Contains(all, rbacv1.VerbAll)
	}
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		return named(rule.Verbs, r.Verb) && named(rule.APIGroups, r.Group) && named(rule.Resources, r.Resource)
	})
}
