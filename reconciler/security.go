package reconciler

import (
	"context"
	"errors"
	"strings"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/constraints"
	"slipway.dev/slipway/reconciler/admission"
	"slipway.dev/slipway/state/loop"
)

// podTemplates are where kinds have the pods that will be made of them, with their metadata beside their spec.
var podTemplates = map[string][]string{
	"Pod": {}, "ReplicationController": {"spec", "template"}, "DeploymentConfig": {"spec", "template"},
	"Deployment": {"spec", "template"}, "ReplicaSet": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// admit adds to a plan's problems the pods that would not be admitted, though they will be asked for only later and by
// somebody else: a commit that can never run says so at its file and line. Those that want nothing special are left to
// when they are made.
func (r *Reconciler) admit(ctx context.Context, plan *Plan) error {
	var brought *admission.Brought
	for _, s := range plan.Steps {
		if s.Action == Prune {
			continue
		}
		pod, at := podOf(s.desired)
		if pod == nil || len(constraints.Reaches(pod)) == 0 {
			continue
		}
		if brought == nil {
			b := broughtBy(plan)
			brought = &b
		}
		_, err := admission.Ask(ctx, r.Client, pod, *brought)
		var refusal *constraints.Refusal
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
		if refusal != nil {
			for _, e := range refusal.Errors {
				plan.Problems = append(plan.Problems, problem(s.origin(), at+e.Field, e.ErrorBody()+"; "+refusal.Advice()))
			}
		}
	}
	return nil
}

// podOf is the pod that an object will have made, and what goes before its fields; nil: it makes none.
func podOf(o *unstructured.Unstructured) (pod *corev1.Pod, at string) {
	if k, known := api.KindFor(o.GroupVersionKind().GroupKind()); !known || k.Runtime {
		return nil, ""
	}
	path, has := podTemplates[o.GetKind()]
	if !has {
		return nil, ""
	}
	template := o.Object
	if len(path) > 0 {
		template, _, _ = unstructured.NestedMap(o.Object, path...)
		at = strings.Join(path, ".") + "."
	}
	pod = &corev1.Pod{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod) != nil {
		return nil, "" // Its mistakes have been told.
	}
	api.Default(pod)
	pod.Namespace, pod.Name = o.GetNamespace(), o.GetName()
	return pod, at
}

// broughtBy is what a plan has made by the time of its pods.
func broughtBy(plan *Plan) admission.Brought {
	// Whatever its ranges will be, they can be filled in.
	b := admission.Brought{Ranges: map[string]string{api.UIDRangeAnnotation: "1000000000/10000"}}
	for _, s := range plan.Steps {
		o := s.desired
		if s.Action == Prune {
			if o.GetKind() == "SecurityContextConstraints" {
				b.Gone = append(b.Gone, o.GetName())
			}
			continue
		}
		switch o.GetKind() {
		case "SecurityContextConstraints":
			c := as[securityv1.SecurityContextConstraints](o)
			api.Default(&c)
			b.Constraints = append(b.Constraints, c)
		case "Role":
			b.Access.Roles = append(b.Access.Roles, as[rbacv1.Role](o))
		case "ClusterRole":
			b.Access.ClusterRoles = append(b.Access.ClusterRoles, as[rbacv1.ClusterRole](o))
		case "RoleBinding":
			b.Access.RoleBindings = append(b.Access.RoleBindings, as[rbacv1.RoleBinding](o))
		case "ClusterRoleBinding":
			b.Access.ClusterRoleBindings = append(b.Access.ClusterRoleBindings, as[rbacv1.ClusterRoleBinding](o))
		}
	}
	return b
}

// constraintWatches wake all Applications when what pods may do changes for all, and those of a project when it
// changes there: what was refused may be right now.
func (r *Reconciler) constraintWatches() []loop.Watch {
	all := func(client.Object) []loop.Key { return r.planner.index.Everywhere(applicationKind) }
	var out []loop.Watch
	for _, list := range []client.ObjectList{
		&securityv1.SecurityContextConstraintsList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.ClusterRoleList{},
	} {
		out = append(out, loop.Watch{List: list, Keys: all, Skip: unchanged()})
	}
	return out
}
