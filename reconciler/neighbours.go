package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// staleConsequences says who goes on with the old content of a ConfigMap or Secret: a change
// of one restarts nothing.
func staleConsequences(plan *Plan, s Step, p *project) []string {
	if s.Action == Change && !slices.ContainsFunc(s.Fields, func(f FieldChange) bool {
		return strings.HasPrefix(f.Path, "data") || strings.HasPrefix(f.Path, "stringData") || strings.HasPrefix(f.Path, "binaryData")
	}) {
		return nil
	}
	var users []string
	for _, k := range p.keepers {
		if !uses(k.pod, s.desired.GetKind(), s.desired.GetName()) {
			continue
		}
		if !plan.rolls(k.kind, k.namespace, k.name) && len(podsOf(k.kind, k.name, p.pods)) > 0 {
			users = append(users, k.name)
		}
	}
	if len(users) == 0 {
		return nil
	}
	what := strings.ToLower(s.desired.GetKind()) + " " + s.desired.GetName()
	if s.Action == Prune {
		return []string{fmt.Sprintf("deletes %s, which the pods of %s need when they start again", what, list(users))}
	}
	return []string{fmt.Sprintf("changes %s; the pods of %s keep the old value until they are restarted", what, list(users))}
}

// rolls says whether the plan restarts a deployment's pods, or deletes it.
func (p *Plan) rolls(kind, namespace, name string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool {
		if s.desired.GetKind() != kind || s.desired.GetNamespace() != namespace || s.desired.GetName() != name {
			return false
		}
		return s.Action == Prune || s.Action == Replace || rollsOut(s.desired) && slices.ContainsFunc(s.Fields, func(f FieldChange) bool {
			return strings.HasPrefix(f.Path, "spec.template.")
		})
	})
}

// uses says whether a pod reads a ConfigMap or Secret: as a volume, as variables, or one key of it.
func uses(spec *corev1.PodSpec, kind, name string) bool {
	config := kind == "ConfigMap"
	for _, v := range spec.Volumes {
		switch {
		case config && v.ConfigMap != nil && v.ConfigMap.Name == name, !config && v.Secret != nil && v.Secret.SecretName == name:
			return true
		case v.Projected == nil:
			continue
		}
		for _, src := range v.Projected.Sources {
			if config && src.ConfigMap != nil && src.ConfigMap.Name == name || !config && src.Secret != nil && src.Secret.Name == name {
				return true
			}
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, e := range c.EnvFrom {
			if config && e.ConfigMapRef != nil && e.ConfigMapRef.Name == name || !config && e.SecretRef != nil && e.SecretRef.Name == name {
				return true
			}
		}
		for _, e := range c.Env {
			from := cmp.Or(e.ValueFrom, &corev1.EnvVarSource{})
			if config && from.ConfigMapKeyRef != nil && from.ConfigMapKeyRef.Name == name || !config && from.SecretKeyRef != nil && from.SecretKeyRef.Name == name {
				return true
			}
		}
	}
	return false
}

// claimed says who holds a host already that a Route asks for. The oldest route of a host
// and path has it; a newer one is refused until that one is gone.
func (l *neighbours) claimed(ctx context.Context, plan *Plan, s Step) ([]string, error) {
	host, _, _ := unstructured.NestedString(s.desired.Object, "spec", "host")
	if s.Action == Prune || host == "" || s.Action == Change && !movesHost(s) {
		return nil, nil
	}
	if l.routes == nil {
		l.routes = &routev1.RouteList{}
		if err := l.client.List(ctx, l.routes); err != nil {
			l.routes = nil
			return nil, fmt.Errorf("read the routes: %w", err)
		}
	}
	way, _, _ := unstructured.NestedString(s.desired.Object, "spec", "path")
	for _, r := range l.routes.Items {
		same := r.Namespace == s.desired.GetNamespace()
		if r.Spec.Host != host || same && (r.Name == s.desired.GetName() || cmp.Or(r.Spec.Path, "/") != cmp.Or(way, "/")) {
			continue
		}
		if plan.prunes("Route", r.Namespace, r.Name) {
			return []string{fmt.Sprintf("takes %s over from route %s/%s", host, r.Namespace, r.Name)}, nil
		}
		return []string{fmt.Sprintf("%s is not served by route %s: route %s/%s has it already", host, s.desired.GetName(), r.Namespace, r.Name)}, nil
	}
	return nil, nil
}

func movesHost(s Step) bool {
	return slices.ContainsFunc(s.Fields, func(f FieldChange) bool { return f.Path == "spec.host" || f.Path == "spec.path" })
}

func (p *Plan) prunes(kind, namespace, name string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool {
		return s.Action == Prune && s.desired.GetKind() == kind && s.desired.GetNamespace() == namespace && s.desired.GetName() == name
	})
}
