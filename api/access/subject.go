package access

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The groups that a service account belongs to.
const (
	groupAuthenticated   = "system:authenticated"
	groupServiceAccounts = "system:serviceaccounts"
	userServiceAccount   = "system:serviceaccount"
)

// Subject is who asks. The zero Subject is nobody.
type Subject struct {
	// Name of the user; of a service account `system:serviceaccount:<project>:<name>`.
	Name   string
	Groups []string
	// account is set for service accounts.
	account types.NamespacedName
	// platform may do everything.
	platform bool
}

// Platform is Slipway itself, acting for its administrators: it may do everything.
func Platform() Subject { return Subject{Name: "system:slipway", platform: true} }

// ServiceAccount is a project's service account. Without a project or a name it is nobody.
func ServiceAccount(project, name string) Subject {
	if project == "" || name == "" {
		return Subject{}
	}
	return Subject{
		Name:    userServiceAccount + ":" + project + ":" + name,
		Groups:  []string{groupServiceAccounts, groupServiceAccounts + ":" + project, groupAuthenticated},
		account: types.NamespacedName{Namespace: project, Name: name},
	}
}

// IsPlatform says that the subject is the platform.
func (s Subject) IsPlatform() bool { return s.platform }

// String names the subject to people.
func (s Subject) String() string {
	switch {
	case s.platform:
		return "the platform"
	case s.account.Name != "":
		return "service account " + s.account.String()
	case s.Name == "":
		return "nobody"
	}
	return s.Name
}

// is says whether a binding's subject means this one. A binding in a project that names a
// service account without its project means its own project's.
func (s Subject) is(bound rbacv1.Subject, project string) bool {
	switch bound.Kind {
	case rbacv1.UserKind:
		return s.Name != "" && bound.Name == s.Name
	case rbacv1.GroupKind:
		return s.Name != "" && slices.Contains(s.Groups, bound.Name)
	case rbacv1.ServiceAccountKind:
		if bound.Namespace != "" {
			project = bound.Namespace
		}
		return s.account.Name != "" && s.account == types.NamespacedName{Namespace: project, Name: bound.Name}
	}
	return false
}
