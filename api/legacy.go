package api

import (
	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	imagev1 "github.com/openshift/api/image/v1"
	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	routev1 "github.com/openshift/api/route/v1"
	securityv1 "github.com/openshift/api/security/v1"
	templatev1 "github.com/openshift/api/template/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var legacyGroups = map[string]schema.GroupVersion{
	"DeploymentConfig":           appsv1.GroupVersion,
	"BuildConfig":                buildv1.GroupVersion,
	"Build":                      buildv1.GroupVersion,
	"ImageStream":                imagev1.GroupVersion,
	"Image":                      imagev1.GroupVersion,
	"EgressNetworkPolicy":        networkv1.GroupVersion,
	"NetNamespace":               networkv1.GroupVersion,
	"Project":                    projectv1.GroupVersion,
	"Route":                      routev1.GroupVersion,
	"SecurityContextConstraints": securityv1.GroupVersion,
	"Template":                   templatev1.GroupVersion,
	"TemplateInstance":           templatev1.GroupVersion,
	"Role":                       rbacv1.SchemeGroupVersion,
	"RoleBinding":                rbacv1.SchemeGroupVersion,
	"ClusterRole":                rbacv1.SchemeGroupVersion,
	"ClusterRoleBinding":         rbacv1.SchemeGroupVersion,
}

// Modern maps the kinds that OpenShift 3 also served in the group-less version v1
// to their groups, and Namespace to Project: the two are one thing seen twice, and
// live state keeps the Project. Any other kind comes back unchanged.
func Modern(gvk schema.GroupVersionKind) schema.GroupVersionKind {
	if gvk.Group != "" || gvk.Version != "v1" {
		return gvk
	}
	if gvk.Kind == "Namespace" {
		return projectv1.GroupVersion.WithKind("Project")
	}
	if gv, ok := legacyGroups[gvk.Kind]; ok {
		return gv.WithKind(gvk.Kind)
	}
	return gvk
}
