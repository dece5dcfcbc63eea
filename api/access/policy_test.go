package access

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
)

func account(project, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: project, Name: name}
}

func bind(project, role string, to ...rbacv1.Subject) rbacv1.RoleBinding {
	return rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: project}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: role}, Subjects: to}
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	p := Policy{
		RoleBindings: []rbacv1.RoleBinding{
			bind("shop", "admin", account("shop", "deployer")),
			bind("shop", "edit", account("", "editor")),
			bind("shop", "view", rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:other"}),
			bind("shop", "no-such-role", account("shop", "lost")),
			bind("shop", "admin", rbacv1.Subject{Kind: rbacv1.UserKind, Name: ""}, rbacv1.Subject{Kind: rbacv1.GroupKind, Name: ""}, account("", "")),
			bind("base", ImagePuller, rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:shop"}),
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "one"}, Subjects: []rbacv1.Subject{account("shop", "narrow")}},
		},
		Roles: []rbacv1.Role{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "one"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"patch"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"only"}}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "one"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}},
		},
		ClusterRoleBindings: []rbacv1.ClusterRoleBinding{{RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}, Subjects: []rbacv1.Subject{account("ops", "root")}}},
	}
	const core, apps = "", "apps.openshift.io"
	for _, c := range []struct {
		who  Subject
		ask  Request
		want bool
	}{
		{ServiceAccount("shop", "deployer"), Request{"create", apps, "deploymentconfigs", "shop", "web"}, true},
		{ServiceAccount("shop", "deployer"), Request{"create", apps, "deploymentconfigs", "other", "web"}, false},
		{ServiceAccount("shop", "deployer"), Request{"create", rbacv1.GroupName, "rolebindings", "shop", "x"}, true},
		{ServiceAccount("shop", "deployer"), Request{"create", core, "resourcequotas", "shop", "x"}, false},
		{ServiceAccount("shop", "deployer"), Request{"create", rbacv1.GroupName, "clusterroles", "", "x"}, false},
		{ServiceAccount("shop", "deployer"), Request{"get", imageGroup, "imagestreams/layers", "base", "go"}, true},
		{ServiceAccount("shop", "deployer"), Request{"update", imageGroup, "imagestreams/layers", "base", "go"}, false},
		{ServiceAccount("shop", "editor"), Request{"patch", core, "secrets", "shop", "x"}, true},
		{ServiceAccount("shop", "editor"), Request{"create", rbacv1.GroupName, "rolebindings", "shop", "x"}, false},
		{ServiceAccount("other", "any"), Request{"get", core, "services", "shop", "x"}, true},
		{ServiceAccount("other", "any"), Request{"get", core, "secrets", "shop", "x"}, false},
		{ServiceAccount("other", "any"), Request{"patch", core, "services", "shop", "x"}, false},
		{ServiceAccount("shop", "lost"), Request{"get", core, "services", "shop", "x"}, false},
		{ServiceAccount("shop", "narrow"), Request{"patch", core, "configmaps", "shop", "only"}, true},
		{ServiceAccount("shop", "narrow"), Request{"patch", core, "configmaps", "shop", "another"}, false},
		{ServiceAccount("shop", "narrow"), Request{"patch", core, "configmaps", "shop", ""}, false},
		{ServiceAccount("ops", "root"), Request{"delete", core, "nodes", "", "n"}, true},
		{Platform(), Request{"delete", core, "nodes", "", "n"}, true},
		{Subject{}, Request{"get", core, "services", "shop", "x"}, false},
		{ServiceAccount("shop", ""), Request{"get", core, "services", "shop", "x"}, false},
		{ServiceAccount("", "deployer"), Request{"get", core, "services", "shop", "x"}, false},
	} {
		if got := p.Allows(c.who, c.ask); got != c.want {
			t.Errorf("%s, %+v: %v, want %v", c.who, c.ask, got, c.want)
		}
	}
}

func TestNobodyGrantsWhatHeDoesNotHave(t *testing.T) {
	t.Parallel()
	p := Policy{RoleBindings: []rbacv1.RoleBinding{bind("shop", "edit", account("shop", "editor")), bind("shop", "admin", account("shop", "deployer"))}}
	rules := func(role string) []rbacv1.PolicyRule {
		return p.RulesOf(rbacv1.RoleRef{Kind: "ClusterRole", Name: role}, "shop")
	}
	for _, c := range []struct {
		who     Subject
		project string
		role    string
		refused bool
	}{
		{ServiceAccount("shop", "deployer"), "shop", "admin", false},
		{ServiceAccount("shop", "deployer"), "shop", "view", false},
		{ServiceAccount("shop", "deployer"), "shop", ImagePuller, false},
		{ServiceAccount("shop", "deployer"), "shop", "cluster-admin", true},
		{ServiceAccount("shop", "deployer"), "", "view", true},
		{ServiceAccount("shop", "deployer"), "other", "view", true},
		{ServiceAccount("shop", "editor"), "shop", "view", false},
		{ServiceAccount("shop", "editor"), "shop", "admin", true},
		{Subject{}, "shop", "view", true},
		{Platform(), "", "cluster-admin", false},
	} {
		if got := len(p.Grants(c.who, c.project, rules(c.role))) > 0; got != c.refused {
			t.Errorf("%s grants %s in %q: refused %v, want %v", c.who, c.role, c.project, got, c.refused)
		}
	}
}

// Every kind of a project is in somebody's hands: a new kind is not forgotten.
func TestAdminHasEveryKindOfAProject(t *testing.T) {
	t.Parallel()
	p := Policy{RoleBindings: []rbacv1.RoleBinding{bind("shop", "admin", account("shop", "deployer"))}}
	for _, k := range api.Kinds() {
		want := k.Namespaced && !k.Runtime && k.Kind != "ResourceQuota" && k.Kind != "LimitRange" && k.Kind != "EgressNetworkPolicy"
		if got := p.Allows(ServiceAccount("shop", "deployer"), Request{"create", k.Group, k.Resource, "shop", "x"}); got != want {
			t.Errorf("create %s: %v, want %v", k.Kind, got, want)
		}
		if p.Allows(ServiceAccount("shop", "deployer"), Request{"create", k.Group, k.Resource, "other", "x"}) {
			t.Errorf("create %s in another project is allowed", k.Kind)
		}
	}
}
