package reconciler

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Preview plans what merging a branch or tag of a repository would do, or what going to
// a full commit would; see PreviewAt.
func (r *Reconciler) Preview(ctx context.Context, repository types.NamespacedName, ref string) ([]*Plan, error) {
	rev, err := r.previewed(ctx, repository, ref)
	if err != nil {
		return nil, err
	}
	return r.PreviewAt(ctx, repository, rev)
}

// PreviewAt plans what following a revision of a repository would do: for every Application
// that follows the repository, and for those that the revision itself would add. It
// changes nothing, and keeps no generated parameter.
func (r *Reconciler) PreviewAt(ctx context.Context, repository types.NamespacedName, rev api.Revision) ([]*Plan, error) {
	var apps v1alpha1.ApplicationList
	if err := r.Client.List(ctx, &apps); err != nil {
		return nil, fmt.Errorf("read the applications: %w", err)
	}
	p := &preview{Reconciler: r, repository: repository, rev: rev, live: apps.Items}
	for _, app := range apps.Items {
		if _, child := app.Labels[OwnerName]; child || source(&app) != repository {
			continue
		}
		if err := p.add(ctx, &app); err != nil {
			return nil, err
		}
	}
	if len(p.plans) == 0 {
		return nil, fmt.Errorf("no application follows repository %s", repository)
	}
	return p.plans, nil
}

type preview struct {
	*Reconciler
	repository types.NamespacedName
	rev        api.Revision
	live       []v1alpha1.Application
	plans      []*Plan
}

// add plans an Application, then the Applications that it would declare.
func (p *preview) add(ctx context.Context, app *v1alpha1.Application) error {
	if slices.ContainsFunc(p.plans, func(done *Plan) bool { return done.Application == app.Name }) {
		return nil
	}
	plan, err := p.plan(ctx, app, p.rev, false, p.unapproved)
	if plan == nil {
		return err
	}
	p.plans = append(p.plans, plan)
	want, err := p.unapproved(ctx, app, p.rev)
	if _, bad := asProblems(err); bad {
		return nil
	}
	if err != nil {
		return err
	}
	for _, o := range want.Objects {
		if o.GetKind() != "Application" {
			continue
		}
		child := &v1alpha1.Application{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, child); err != nil {
			return fmt.Errorf("application %s: %w", o.GetName(), err)
		}
		if source(child) != p.repository {
			continue
		}
		if i := p.liveAt(child); i >= 0 {
			child.Status, child.UID = p.live[i].Status, p.live[i].UID
		}
		if err := p.add(ctx, child); err != nil {
			return err
		}
	}
	return nil
}
