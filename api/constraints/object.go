package constraints

import (
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/access"
)

// templates are where kinds have the pods that will be made of them, with their metadata beside their spec.
var templates = map[string][]string{
	"Pod": {}, "ReplicationController": {"spec", "template"}, "DeploymentConfig": {"spec", "template"},
	"Deployment": {"spec", "template"}, "ReplicaSet": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// PodOf is the pod that an object of a repository will have made, and what goes before its fields in the object; nil: it
// makes none, or its mistakes do not let tell.
func PodOf(o *unstructured.Unstructured) (pod *corev1.Pod, at string) {
	if k, known := api.KindFor(api.Modern(o.GroupVersionKind()).GroupKind()); !known || k.Runtime {
		return nil, ""
	}
	path, has := templates[o.GetKind()]
	if !has {
		return nil, ""
	}
	template := o.Object
	if len(path) > 0 {
		// Not a copy: it is only read.
		nested, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		template, _ = nested.(map[string]any)
		at = strings.Join(path, ".") + "."
	}
	pod = &corev1.Pod{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod) != nil {
		return nil, ""
	}
	api.Default(pod)
	pod.Namespace, pod.Name = o.GetNamespace(), o.GetName()
	return pod, at
}

// Policy is what objects bring along of what decides about pods.
type Policy struct {
	Constraints []securityv1.SecurityContextConstraints
	Access      access.Policy
}

// Add takes an object into account, if it decides about pods.
func (p *Policy) Add(o *unstructured.Unstructured) {
	switch o.GetKind() {
	case "SecurityContextConstraints":
		c := as[securityv1.SecurityContextConstraints](o)
		api.Default(&c)
		p.Constraints = append(p.Constraints, c)
	case "Role":
		p.Access.Roles = append(p.Access.Roles, as[rbacv1.Role](o))
	case "ClusterRole":
		p.Access.ClusterRoles = append(p.Access.ClusterRoles, as[rbacv1.ClusterRole](o))
	case "RoleBinding":
		p.Access.RoleBindings = append(p.Access.RoleBindings, as[rbacv1.RoleBinding](o))
	case "ClusterRoleBinding":
		p.Access.ClusterRoleBindings = append(p.Access.ClusterRoleBindings, as[rbacv1.ClusterRoleBinding](o))
	}
}

// as reads an object as its type. What does not fit is left out: its mistakes are told elsewhere, and grant nothing.
func as[T any](o *unstructured.Unstructured) (out T) {
	if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &out) != nil {
		var none T
		return none
	}
	return out
}

// AnyRanges stand for those of a project that has none yet: whatever they will be, they can be filled in.
func AnyRanges() map[string]string {
	return map[string]string{api.UIDRangeAnnotation: "1000000000/10000"}
}
