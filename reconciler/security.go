package reconciler

import (
	"context"
	"errors"
	"slices"

	securityv1 "github.com/openshift/api/security/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api/constraints"
	"slipway.dev/slipway/reconciler/admission"
	"slipway.dev/slipway/state/loop"
)

// admit adds to a plan's problems the pods that would not be admitted, though they will be asked for only later and by
// somebody else: a commit that can never run says so at its file and line. Those that want nothing special are looked
// at where not everybody may have all that.
func (r *Reconciler) admit(ctx context.Context, plan *Plan) error {
	pods := plannedPods(plan.Steps)
	if len(pods) == 0 {
		return nil
	}
	brought := broughtBy(plan)
	strict, err := admission.Strict(ctx, r.Client, brought)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if !strict && !p.reaches {
			continue
		}
		_, err := admission.Ask(ctx, r.Client, p.pod, brought)
		var refusal *constraints.Refusal
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
		if refusal != nil {
			for _, e := range refusal.Errors {
				plan.Problems = append(plan.Problems, problem(p.step.origin(), p.at+e.Field, e.ErrorBody()+"; "+refusal.Advice()))
			}
		}
	}
	return nil
}

// plannedPod is the pod that what a step makes will have made.
type plannedPod struct {
	step Step
	pod  *corev1.Pod
	// at goes before the pod's fields in the object.
	at string
	// reaches: it asks for more than every pod may have.
	reaches bool
}

func plannedPods(steps []Step) []plannedPod {
	out := make([]plannedPod, len(steps))
	onAllCores(len(steps), func(i int) {
		s := steps[i]
		if s.Action == Prune {
			return
		}
		if pod, at := constraints.PodOf(s.desired); pod != nil {
			out[i] = plannedPod{s, pod, at, len(constraints.Reaches(pod)) > 0}
		}
	})
	return slices.DeleteFunc(out, func(p plannedPod) bool { return p.pod == nil })
}

// broughtBy is what a plan has made by the time of its pods.
func broughtBy(plan *Plan) admission.Brought {
	b := admission.Brought{Ranges: constraints.AnyRanges()}
	for _, s := range plan.Steps {
		switch {
		case s.Action != Prune:
			b.Add(s.desired)
		case s.desired.GetKind() == "SecurityContextConstraints":
			b.Gone = append(b.Gone, s.desired.GetName())
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
