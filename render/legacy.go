package render

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// legacyPolicy is the group of OpenShift's own roles and bindings.
const legacyPolicy = "authorization.openshift.io"

// modernPolicy turns a role or binding of OpenShift's own API, or of the group-less v1,
// into one of rbac.authorization.k8s.io, as OpenShift itself does when it stores one: a
// role reference without a namespace means a ClusterRole; userNames and groupNames repeat
// the subjects, or stand for them.
func modernPolicy(u *unstructured.Unstructured) {
	gvk := u.GroupVersionKind()
	if gvk.Group != legacyPolicy && (gvk.Group != "" || gvk.Version != "v1") {
		return
	}
	switch gvk.Kind {
	case "Role", "ClusterRole":
		rules, _ := u.Object["rules"].([]any)
		for _, r := range rules {
			if m, ok := r.(map[string]any); ok && m["attributeRestrictions"] == nil {
				delete(m, "attributeRestrictions")
			}
		}
	case "RoleBinding", "ClusterRoleBinding":
		modernBinding(u)
	default:
		return
	}
	u.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(gvk.Kind))
}

func modernBinding(u *unstructured.Unstructured) {
	if ref, ok := u.Object["roleRef"].(map[string]any); ok {
		kind := "ClusterRole"
		if ns, _ := ref["namespace"].(string); ns != "" {
			kind = "Role"
		}
		if given, _ := ref["kind"].(string); given != "" {
			kind = given
		}
		u.Object["roleRef"] = map[string]any{"apiGroup": rbacv1.GroupName, "kind": kind, "name": ref["name"]}
	}
	subjects, _ := u.Object["subjects"].([]any)
	if len(subjects) == 0 {
		subjects = append(named(u.Object["userNames"], "User"), named(u.Object["groupNames"], "Group")...)
	}
	for _, s := range subjects {
		m, ok := s.(map[string]any)
		if !ok {
			continue
		}
		switch m["kind"] {
		case "User", "Group":
			m["apiGroup"] = rbacv1.GroupName
		case "SystemUser", "SystemGroup":
			m["kind"], m["apiGroup"] = strings.TrimPrefix(m["kind"].(string), "System"), rbacv1.GroupName
		}
	}
	if len(subjects) > 0 {
		u.Object["subjects"] = subjects
	}
	delete(u.Object, "userNames")
	delete(u.Object, "groupNames")
}

// named turns names into subjects; a service account's full name into the account.
func named(names any, kind string) []any {
	list, _ := names.([]any)
	var out []any
	for _, n := range list {
		name, _ := n.(string)
		parts := strings.Split(name, ":")
		if kind == "User" && len(parts) == 4 && strings.HasPrefix(name, "system:serviceaccount:") {
			out = append(out, map[string]any{"kind": "ServiceAccount", "namespace": parts[2], "name": parts[3]})
			continue
		}
		out = append(out, map[string]any{"kind": kind, "name": name})
	}
	return out
}
