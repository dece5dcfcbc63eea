package demo

import (
	"context"
	"fmt"
	"strings"

	appsv1 "github.com/openshift/api/apps/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"slipway.dev/slipway/api/v1alpha1"
)

// Paths of the API that the story looks at.
func inProject(group, version, project, resource, name string) string {
	base := "/apis/" + group + "/" + version
	if group == "" {
		base = "/api/" + version
	}
	p := base + "/namespaces/" + project + "/" + resource
	if name != "" {
		p += "/" + name
	}
	return p
}

func (s *story) application(ctx context.Context, name string) (v1alpha1.Application, error) {
	var app v1alpha1.Application
	err := s.get(ctx, inProject("slipway.dev", "v1alpha1", "slipway", "applications", name), &app)
	return app, err
}

// applied says whether every application of the configuration follows a commit.
func (s *story) applied(ctx context.Context, commit string) error {
	for _, name := range []string{"root", "shop-dev", "shop-prod"} {
		app, err := s.application(ctx, name)
		if err != nil {
			return err
		}
		if app.Status.LastAppliedCommit != commit {
			why := ""
			for _, c := range app.Status.Conditions {
				why += fmt.Sprintf(" %s=%s %s", c.Type, c.Status, c.Message)
			}
			return fmt.Errorf("application %s follows %q, not %s:%s", name, short(app.Status.LastAppliedCommit), short(commit), why)
		}
	}
	return nil
}

func (s *story) deployment(ctx context.Context, project, name string) (appsv1.DeploymentConfig, error) {
	var dc appsv1.DeploymentConfig
	err := s.get(ctx, inProject("apps.openshift.io", "v1", project, "deploymentconfigs", name), &dc)
	return dc, err
}

// rolledOut says whether a deployment is at rest with so many ready pods.
func (s *story) rolledOut(ctx context.Context, project, name string, replicas int32) error {
	dc, err := s.deployment(ctx, project, name)
	if err != nil {
		return err
	}
	st := dc.Status
	if st.ObservedGeneration != dc.Generation || st.Replicas != replicas || st.ReadyReplicas != replicas || st.UpdatedReplicas != replicas {
		return fmt.Errorf("%s/%s has %d pods, %d ready, %d of the newest version; want %d", project, name, st.Replicas, st.ReadyReplicas, st.UpdatedReplicas, replicas)
	}
	return nil
}

// built says whether the newest build of a configuration is complete and of a commit.
func (s *story) built(ctx context.Context, project, name, commit string) error {
	var list buildv1.BuildList
	if err := s.get(ctx, inProject("build.openshift.io", "v1", project, "builds", ""), &list); err != nil {
		return err
	}
	state := "no build yet"
	for _, b := range list.Items {
		if b.Labels[buildv1.BuildConfigLabel] != name || b.Spec.Revision == nil || b.Spec.Revision.Git == nil || b.Spec.Revision.Git.Commit != commit {
			continue
		}
		if b.Status.Phase == buildv1.BuildPhaseComplete {
			return nil
		}
		state = fmt.Sprintf("%s is %s %s %s", b.Name, b.Status.Phase, b.Status.Reason, b.Status.Message)
		if b.Status.CompletionTimestamp != nil {
			return fmt.Errorf("%w: %s", errNever, state)
		}
	}
	return fmt.Errorf("build of %s at %s: %s", name, short(commit), state)
}

// events are the messages of a project's events with a reason.
func (s *story) events(ctx context.Context, project, reason string) ([]string, error) {
	var list corev1.EventList
	if err := s.get(ctx, inProject("", "v1", project, "events", ""), &list); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list.Items {
		if e.Reason == reason {
			out = append(out, e.Message)
		}
	}
	return out, nil
}

// eventSays waits for nothing: it says whether some event of a reason mentions text.
func (s *story) eventSays(ctx context.Context, project, reason, text string) error {
	list, err := s.events(ctx, project, reason)
	if err != nil {
		return err
	}
	for _, m := range list {
		if strings.Contains(m, text) {
			return nil
		}
	}
	return fmt.Errorf("no event %s in %s mentions %q", reason, project, text)
}
