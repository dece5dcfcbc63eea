package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// addConsequences says what follows from a plan for what runs now.
func (p *planner) addConsequences(ctx context.Context, plan *Plan) error {
	pods := map[string][]corev1.Pod{}
	for _, s := range plan.Steps {
		ns := s.desired.GetNamespace()
		if _, seen := pods[ns]; seen || ns == "" || s.desired.GetKind() != "DeploymentConfig" {
			continue
		}
		var list corev1.PodList
		if err := p.client.List(ctx, &list, client.InNamespace(ns)); err != nil {
			return fmt.Errorf("read the pods of %s: %w", ns, err)
		}
		pods[ns] = list.Items
	}
	for _, s := range plan.Steps {
		plan.Consequences = append(plan.Consequences, consequences(s, pods[s.desired.GetNamespace()])...)
	}
	return nil
}

// consequences is what one step does to what runs, in sentences. pods are those of
// the object's project.
func consequences(s Step, pods []corev1.Pod) []string {
	switch s.desired.GetKind() {
	case "DeploymentConfig":
		return deploymentConsequences(s, podsOf(s.desired.GetName(), pods))
	case "Route":
		return routeConsequences(s)
	case "ImageStream":
		return streamConsequences(s)
	case "BuildConfig":
		if s.Action == Create && hasConfigChange(s.desired) {
			return []string{"starts the first build of " + s.desired.GetName()}
		}
	case "PersistentVolumeClaim":
		if s.Action == Prune {
			return []string{"releases volume claim " + s.desired.GetName() + ": its data may be lost"}
		}
	case "Project":
		if s.Action == Prune {
			return []string{"deletes project " + s.desired.GetName() + " with everything in it"}
		}
	case "Application":
		if s.Action == Prune {
			return []string{"deletes everything that application " + s.desired.GetName() + " made"}
		}
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
	if rolls && hasConfigChange(s.desired) {
		out = append(out, fmt.Sprintf("rolls out %s: replaces %s%s", name, count(len(pods), "pod"), onNodes(pods)))
	}
	return out
}

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

func podsOf(dc string, pods []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool {
		return p.Labels["deploymentconfig"] != dc || p.DeletionTimestamp != nil
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
