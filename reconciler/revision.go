package reconciler

import (
	"context"
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/state/loop"
)

// Changes is what Sources may also implement: which files differ between two commits.
type Changes interface {
	// Changes lists every path that was added, removed or changed.
	Changes(ctx context.Context, repository types.NamespacedName, from, to string) ([]string, error)
}

// pair is two commits, as an Application of a generation sees them.
type pair struct {
	from, to   string
	generation int64
}

// changed is a set of files that differ, and of all folders above them.
type changed struct{ files, folders map[string]bool }

func changedBy(files []string) changed {
	c := changed{files: make(map[string]bool, len(files)), folders: map[string]bool{}}
	for _, f := range files {
		c.files[f] = true
		for dir := path.Dir(f); !c.folders[dir]; dir = path.Dir(dir) {
			c.folders[dir] = true
		}
	}
	return c
}

// touches says whether what a render depends on differs.
func (c changed) touches(d api.Depends) bool {
	in := func(set map[string]bool) func(string) bool { return func(name string) bool { return set[name] } }
	return slices.ContainsFunc(d.Files, in(c.files)) ||
		slices.ContainsFunc(d.Folders, in(c.folders)) || slices.ContainsFunc(d.Listings, in(c.folders))
}

// follows is what of a tree an Application's objects and its holds follow from.
func follows(app *v1alpha1.Application, d api.Depends) api.Depends {
	d.Files = append(slices.Clip(d.Files), path.Join(rootDir(app), api.HoldsFile))
	return d
}

// head is a repository's revision, as far as its Applications were told.
type head struct {
	commit     string
	generation int64
}

// revisions wakes the Applications that a repository's new revision concerns: those that
// depend on what it changed, those of which that is not known, and those that are not at
// rest. All others are where the revision wants them.
func (r *Reconciler) revisions(wake chan<- loop.Key) loop.Controller {
	return loop.Controller{
		Name: "revision", Watches: []loop.Watch{{List: &v1alpha1.GitRepositoryList{}}},
		Reconcile: func(ctx context.Context, key types.NamespacedName) (loop.Result, error) {
			keys, err := r.concerned(ctx, key)
			for _, k := range keys {
				select {
				case wake <- k:
				case <-ctx.Done():
					return loop.Result{}, ctx.Err()
				}
			}
			return loop.Result{}, err
		},
	}
}

// concerned are the Applications that are to be looked at because of a repository.
func (r *Reconciler) concerned(ctx context.Context, key types.NamespacedName) ([]loop.Key, error) {
	m := r.planner.memory
	var repo v1alpha1.GitRepository
	if err := r.Client.Get(ctx, key, &repo); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	now := head{generation: repo.Generation}
	if a := repo.Status.Artifact; a != nil {
		now.commit = a.Commit
	}
	was := m.headOf(key)
	if was == now {
		return m.restless(key), nil
	}
	lists, ok := r.Sources.(Changes)
	if !ok || was.commit == "" || now.commit == "" || was.generation != now.generation {
		return m.move(key, now, nil), nil
	}
	files, err := lists.Changes(ctx, key, was.commit, now.commit)
	if err != nil {
		// The old commit may be gone with a history that was written anew.
		r.Log.Info("what a revision changes is not known, so that every application is looked at",
			"repository", key.String(), "from", was.commit, "to", now.commit, "error", err)
		return m.move(key, now, nil), nil
	}
	c := changedBy(files)
	return m.move(key, now, &c), nil
}

// untouched says that an Application is where a newer revision wants it, because nothing
// changed that it depends on. Its status goes on to name the last commit that concerned it.
func (r *Reconciler) untouched(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) (bool, error) {
	s := &app.Status
	if !plan.Empty() || len(plan.contested) > 0 || !nothingPends(app) || !slices.Equal(s.Overrides, plan.overrides) {
		return false, nil
	}
	if !r.planner.memory.of(client.ObjectKeyFromObject(app)).lists(s, plan.inventory) && !sameInventory(s, plan) {
		return false, nil
	}
	if s.LastAppliedCommit == rev.Commit {
		return true, nil
	}
	return r.alike(ctx, app, s.LastAppliedCommit, rev.Commit, plan.depends)
}

func sameInventory(s *v1alpha1.ApplicationStatus, plan *Plan) bool {
	return s.PackedInventory == "" && slices.Equal(s.Inventory, entries(plan.inventory...))
}

// where is the revision that a plan is for: the one that the Application follows already
// where a newer one changes nothing that it depends on. What such a plan changes was
// changed by hand, and is no commit's doing.
func (r *Reconciler) where(ctx context.Context, app *v1alpha1.Application, rev api.Revision, plan *Plan) (api.Revision, error) {
	live := app.Status.LastAppliedCommit
	if plan.Empty() || live == "" || live == rev.Commit || app.Status.ObservedGeneration != app.Generation {
		return rev, nil
	}
	same, err := r.alike(ctx, app, live, rev.Commit, plan.depends)
	if err != nil || !same {
		return rev, err
	}
	at, err := r.Sources.RevisionAt(ctx, source(app), live)
	if err != nil {
		// It differed a moment ago in nothing: if it cannot be read now, the newer one will do.
		return rev, nil
	}
	plan.Commit = live
	return at, nil
}

// alike says that nothing of d differs between two commits; false: something does, or it is
// not known.
func (r *Reconciler) alike(ctx context.Context, app *v1alpha1.Application, from, to string, d api.Depends) (bool, error) {
	lists, ok := r.Sources.(Changes)
	if !ok || len(d.Files)+len(d.Folders)+len(d.Listings) == 0 {
		return false, nil
	}
	asked := pair{from, to, app.Generation}
	k, found := r.planner.memory.of(client.ObjectKeyFromObject(app)), false
	k.note(func(k *known) { found = k.same == asked })
	if found {
		return true, nil
	}
	files, err := lists.Changes(ctx, source(app), from, to)
	if err != nil || changedBy(files).touches(follows(app, d)) {
		return false, nil
	}
	k.note(func(k *known) { k.same = asked })
	return true, nil
}

// AtRevision says whether an Application's objects are live as they are at a commit: it
// follows that commit, or the one it follows differs from it in nothing that the Application
// depends on. What the two differ in otherwise is no matter.
func (r *Reconciler) AtRevision(ctx context.Context, app *v1alpha1.Application, commit string) (bool, error) {
	live := app.Status.LastAppliedCommit
	if live == "" || app.Status.ObservedGeneration != app.Generation {
		return false, nil
	}
	if live == commit {
		return true, nil
	}
	rev, err := r.Sources.RevisionAt(ctx, source(app), commit)
	if err != nil {
		return false, fmt.Errorf("application %s at %s: %w", app.Name, Short(commit), err)
	}
	want, err := desired(ctx, r.Render, app, rev, false)
	if _, bad := asProblems(err); bad {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return r.alike(ctx, app, live, rev.Commit, want.Depends)
}
