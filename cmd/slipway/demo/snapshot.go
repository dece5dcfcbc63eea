package demo

import (
	"context"
	"fmt"
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// snapshot is what must be the same before and after a restart.
type snapshot struct {
	// containers maps a project to its containers' ids and start times.
	containers map[string]map[string]string
	// objects maps an object to its identity and generation.
	objects map[string]string
}

func (s *story) snapshot(ctx context.Context) (snapshot, error) {
	out := snapshot{containers: map[string]map[string]string{}, objects: map[string]string{}}
	for _, project := range []string{"shop-dev", "shop-prod"} {
		list, err := s.appContainers(ctx, project)
		if err != nil {
			return out, err
		}
		out.containers[project] = list
		for _, r := range []struct{ group, resource string }{
			{"", "pods"}, {"", "services"}, {"", "secrets"}, {"", "replicationcontrollers"},
			{"apps.openshift.io", "deploymentconfigs"}, {"build.openshift.io", "builds"}, {"build.openshift.io", "buildconfigs"},
			{"image.openshift.io", "imagestreams"}, {"route.openshift.io", "routes"},
		} {
			if err := s.addObjects(ctx, out.objects, r.group, project, r.resource); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

func (s *story) addObjects(ctx context.Context, into map[string]string, group, project, resource string) error {
	var list struct {
		Items []struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
		} `json:"items"`
	}
	if err := s.get(ctx, inProject(group, "v1", project, resource, ""), &list); err != nil {
		return err
	}
	for _, o := range list.Items {
		into[project+"/"+resource+"/"+o.Metadata.Name] = fmt.Sprintf("%s generation %d", o.Metadata.UID, o.Metadata.Generation)
	}
	return nil
}

// difference names what differs; empty: nothing does.
func (a snapshot) difference(b snapshot) string {
	var out []string
	for project := range a.containers {
		if !maps.Equal(a.containers[project], b.containers[project]) {
			out = append(out, fmt.Sprintf("the containers of %s from %v to %v", project, a.containers[project], b.containers[project]))
		}
	}
	for k, v := range a.objects {
		if b.objects[k] != v {
			out = append(out, fmt.Sprintf("%s from %s to %q", k, v, b.objects[k]))
		}
	}
	for k := range b.objects {
		if _, ok := a.objects[k]; !ok {
			out = append(out, k+" is new")
		}
	}
	return strings.Join(out, "; ")
}
