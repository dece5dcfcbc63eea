package project

import (
	"slices"

	projectv1 "github.com/openshift/api/project/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// The names of what every project has, and thus of what wakes its controller.
var (
	accounts = []string{"builder", "default", "deployer"}
	bindings = []string{"slipway:applications", "system:deployers", "system:image-builders", "system:image-pullers"}
)

// furniture maps the objects of those names to their project.
func furniture(names []string) func(client.Object) []loop.Key {
	return func(o client.Object) []loop.Key {
		if !slices.Contains(names, o.GetName()) {
			return nil
		}
		return []loop.Key{{Name: o.GetNamespace()}}
	}
}

// Furnish lists what every project has from the beginning: OpenShift's three service
// accounts, what they may do, and that whoever asked for the project administers it.
func Furnish(p *projectv1.Project) []client.Object {
	var all []client.Object
	for _, name := range accounts {
		all = append(all, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name}})
	}
	account := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: p.Name, Name: name}
	}
	group := rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + p.Name}
	all = append(all,
		// The Applications of a project act as its deployer, and bring whatever a project holds.
		binding(p, "slipway:applications", "admin", account("deployer")),
		binding(p, "system:deployers", "system:deployer", account("deployer")),
		binding(p, "system:image-builders", "system:image-builder", account("builder")),
		binding(p, "system:image-pullers", "system:image-puller", group),
	)
	if user := p.Annotations[projectv1.ProjectRequesterAnnotation]; user != "" {
		all = append(all, binding(p, "admin", "admin", rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}))
	}
	return all
}

func binding(p *projectv1.Project, name, role string, to rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{to},
	}
}
