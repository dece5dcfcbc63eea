package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	routev1 "github.com/openshift/api/route/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// addConsequences says what follows from a plan for what runs now, and reports what a quota
// does not allow.
func (p *planner) addConsequences(ctx context.Context, plan *Plan) error {
	if plan.Empty() {
		return nil
	}
	l := &neighbours{client: p.client, projects: map[string]*project{}}
	for _, s := range plan.Steps {
		said, err := l.consequences(ctx, plan, s)
		if err != nil {
			return err
		}
		plan.Consequences = append(plan.Consequences, said...)
	}
	return l.quotas(ctx, plan)
}

// neighbours are the objects around those of a plan, read where a step asks for them.
type neighbours struct {
	client   client.Client
	projects map[string]*project
	routes   *routev1.RouteList
}

// project is what is live in one project.
type project struct {
	pods    []corev1.Pod
	keepers []keeper
}

func (l *neighbours) project(ctx context.Context, name string) (*project, error) {
	if p, read := l.projects[name]; read || name == "" {
		return p, nil
	}
	var pods corev1.PodList
	if err := l.client.List(ctx, &pods, client.InNamespace(name)); err != nil {
		return nil, fmt.Errorf("read what runs in %s: %w", name, err)
	}
	keepers, err := keepersIn(ctx, l.client, name)
	if err != nil {
		return nil, err
	}
	l.projects[name] = &project{pods.Items, keepers}
	return l.projects[name], nil
}

func (l *neighbours) consequences(ctx context.Context, plan *Plan, s Step) ([]string, error) {
	switch s.desired.GetKind() {
	case "DeploymentConfig", "Deployment", "StatefulSet", "DaemonSet":
		if s.Action == Create {
			return nil, nil
		}
		p, err := l.project(ctx, s.desired.GetNamespace())
		if err != nil {
			return nil, err
		}
		return consequences(s, p.pods), nil
	case "ConfigMap", "Secret":
		if s.Action == Create {
			return nil, nil
		}
		p, err := l.project(ctx, s.desired.GetNamespace())
		if err != nil {
			return nil, err
		}
		return staleConsequences(plan, s, p), nil
	case "Route":
		taken, err := l.claimed(ctx, plan, s)
		return append(consequences(s, nil), taken...), err
	}
	return consequences(s, nil), nil
}

// consequences is what one step does to what runs, in sentences. pods are those of
// the object's project.
func consequences(s Step, pods []corev1.Pod) []string {
	switch s.desired.GetKind() {
	case "DeploymentConfig", "Deployment", "StatefulSet", "DaemonSet":
		return deploymentConsequences(s, podsOf(s.desired.GetKind(), s.desired.GetName(), pods))
	case "Route":
		return routeConsequences(s)
	case "ImageStream":
		return streamConsequences(s)
	case "BuildConfig":
		if s.Action == Create && hasConfigChange(s.desired) {
			return []string{"starts the first build of " + s.desired.GetName()}
		}
	case "Job", "CronJob":
		return jobConsequences(s)
	case "PersistentVolumeClaim":
		if s.Action == Prune || s.Action == Replace {
			return []string{"releases volume claim " + s.desired.GetName() + ": its data may be lost"}
		}
	case "PersistentVolume":
		if s.Action == Prune || s.Action == Replace {
			return []string{"gives up volume " + s.desired.GetName() + ": claims that are bound to it lose it"}
		}
	case "Pod":
		if s.Action != Create {
			return []string{"stops pod " + s.desired.GetName()}
		}
	case "Project":
		if s.Action == Prune || s.Action == Replace {
			return []string{"deletes project " + s.desired.GetName() + " with everything in it"}
		}
	case "Application":
		if s.Action == Prune {
			return []string{"deletes everything that application " + s.desired.GetName() + " made"}
		}
	}
	return nil
}

func jobConsequences(s Step) []string {
	name, suspended := s.desired.GetName(), false
	if v, _, _ := unstructured.NestedBool(s.desired.Object, "spec", "suspend"); v {
		suspended = true
	}
	switch job := s.desired.GetKind() == "Job"; {
	case job && s.Action == Create && !suspended:
		return []string{"runs job " + name}
	case job && s.Action == Replace && !suspended:
		return []string{"deletes job " + name + " with its pods, and runs it anew"}
	case job && (s.Action == Prune || s.Action == Replace):
		return []string{"deletes job " + name + " with its pods"}
	case s.Action == Prune, s.Action == Replace:
		return []string{"deletes the jobs of cron job " + name + ", those that run too"}
	}
	return nil
}

func deploymentConsequences(s Step, pods []corev1.Pod) []string {
	name := s.desired.GetName()
	switch s.Action {
	case Create:
		return nil
	case Prune:
		return []string{fmt.Sprintf("stops %s of %s%s", count(len(pods), "pod"), name, onNodes(pods))}
	case Replace:
		return []string{fmt.Sprintf("stops %s of %s%s, then starts them anew", count(len(pods), "pod"), name, onNodes(pods))}
	}
	var out []string
	replicas := ""
	rolls := false
	for _, f := range s.Fields {
		switch {
		case f.Path == "spec.replicas":
			replicas = fmt.Sprintf("scales %s from %s to %s pods", name, orZero(f.Old), orZero(f.New))
		case strings.HasPrefix(f.Path, "spec.template."):
			rolls = true
		}
	}
	if replicas != "" {
		out = append(out, replicas)
	}
	out = append(out, imageConsequences(s)...)
	if rolls && rollsOut(s.desired) {
		out = append(out, fmt.Sprintf("rolls out %s: replaces %s%s", name, count(len(pods), "pod"), onNodes(pods)))
	}
	return out
}

// imageConsequences says which containers run another image. Those that a trigger sets are
// none of git's.
func imageConsequences(s Step) []string {
	var out []string
	for _, f := range s.Fields {
		if strings.HasPrefix(f.Path, "spec.template.spec.") && strings.HasSuffix(f.Path, ".image") && f.Old != "" && f.New != "" {
			out = append(out, fmt.Sprintf("runs image %s in %s instead of %s", unquoted(f.New), s.desired.GetName(), unquoted(f.Old)))
		}
	}
	return out
}

func unquoted(s string) string { return strings.Trim(s, `"`) }

func routeConsequences(s Step) []string {
	host, _, _ := unstructured.NestedString(s.desired.Object, "spec", "host")
	name := s.desired.GetName()
	switch s.Action {
	case Create:
		if host != "" {
			return []string{fmt.Sprintf("serves %s from now on", host)}
		}
	case Prune:
		return []string{fmt.Sprintf("%s is no longer served", host)}
	case Change:
		old, _, _ := unstructured.NestedString(s.live.Object, "spec", "host")
		if host != "" && old != host {
			return []string{fmt.Sprintf("moves route %s from %s to %s; the old address ends", name, old, host)}
		}
		return []string{fmt.Sprintf("changes how %s is served", old)}
	}
	return nil
}

func streamConsequences(s Step) []string {
	if s.Action == Prune {
		return []string{"forgets the tags of image stream " + s.desired.GetName()}
	}
	var out []string
	for _, f := range s.Fields {
		if strings.HasPrefix(f.Path, "spec.tags") && strings.HasSuffix(f.Path, ".from.name") {
			out = append(out, fmt.Sprintf("moves image stream %s from %s to %s; what follows it rolls out", s.desired.GetName(), f.Old, f.New))
		}
	}
	return out
}

func hasConfigChange(o *unstructured.Unstructured) bool {
	list, found, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	if !found {
		return o.GetKind() == "DeploymentConfig"
	}
	return slices.ContainsFunc(list, func(t any) bool {
		m, _ := t.(map[string]any)
		return str(m["type"]) == "ConfigChange"
	})
}

func onNodes(pods []corev1.Pod) string {
	var nodes []string
	for _, p := range pods {
		if p.Spec.NodeName != "" && !slices.Contains(nodes, p.Spec.NodeName) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	if len(nodes) == 0 {
		return ""
	}
	slices.Sort(nodes)
	return " on " + strings.Join(nodes, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
