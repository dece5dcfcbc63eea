package reconciler

import (
	"context"
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
)

// Merger merges trees of the GitRepositories without making a commit.
type Merger interface {
	// Merged is a branch or other reference as it would be merged into what the repository follows.
	Merged(ctx context.Context, repository types.NamespacedName, ref string) (api.Revision, error)
}

var wholeCommit = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// previewed is the revision that a preview of a reference is about: the merge of a branch, of
// a tag or of a pull request; a commit as it is.
func (r *Reconciler) previewed(ctx context.Context, repository types.NamespacedName, ref string) (api.Revision, error) {
	if r.Merges == nil || wholeCommit.MatchString(ref) {
		return r.Sources.RevisionAt(ctx, repository, ref)
	}
	return r.Merges.Merged(ctx, repository, ref)
}

// Pending plans an Application at the newest revision, as its next look would. It changes
// nothing. The WaitingPlan is what the Application's status says that it waits for; nil:
// nothing.
func (r *Reconciler) Pending(ctx context.Context, key types.NamespacedName) (*Plan, *v1alpha1.WaitingPlan, error) {
	var app v1alpha1.Application
	if err := r.Client.Get(ctx, key, &app); err != nil {
		return nil, nil, err
	}
	rev, err := r.Sources.Revision(ctx, source(&app))
	if err != nil {
		return nil, nil, fmt.Errorf("source of application %s: %w", key, err)
	}
	plan, err := r.Plan(ctx, &app, rev, false)
	if _, bad := asProblems(err); err != nil && (!bad || plan == nil) {
		return nil, nil, err
	}
	return plan, app.Status.Waiting, nil
}
