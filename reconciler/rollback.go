package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/reconciler/gate"
)

// rollback is the newest commit since what was last applied that rolls the Application
// back; empty: there is none. A trailer says which commit it goes back to, and that is
// checked: the Application must have been applied there, and must render to the same again.
func (r *Reconciler) rollback(ctx context.Context, app *v1alpha1.Application, newest api.Revision) (string, error) {
	log, err := r.newer(ctx, app, newest)
	if err != nil {
		return "", err
	}
	for _, c := range log {
		good := gate.RollsBackTo(c.Message)
		if good == "" {
			continue
		}
		applied, err := r.wasApplied(ctx, app, good)
		if err != nil {
			return "", err
		}
		if !applied {
			continue
		}
		same, err := r.goesBack(ctx, app, c.Hash, good)
		if err != nil {
			return "", err
		}
		if same {
			return c.Hash, nil
		}
	}
	return "", nil
}

func (r *Reconciler) goesBack(ctx context.Context, app *v1alpha1.Application, commit, good string) (bool, error) {
	now, err := r.Sources.RevisionAt(ctx, source(app), commit)
	if err != nil {
		return false, err
	}
	then, err := r.Sources.RevisionAt(ctx, source(app), good)
	if err != nil {
		return false, err
	}
	return r.rendersAlike(ctx, app, now, then)
}

// wasApplied says whether a Record tells that a commit was applied.
func (r *Reconciler) wasApplied(ctx context.Context, app *v1alpha1.Application, commit string) (bool, error) {
	var records v1alpha1.RecordList
	if err := r.Client.List(ctx, &records, client.InNamespace(app.Namespace), client.MatchingLabels{OwnerName: app.Name}); err != nil {
		return false, fmt.Errorf("read the records of application %s: %w", app.Name, err)
	}
	for _, rec := range records.Items {
		if rec.Spec.Commit == commit && rec.Spec.Outcome == "Applied" {
			return true, nil
		}
	}
	return false, nil
}

// rendersAlike says whether an Application renders to the same objects at two revisions.
// One that has mistakes is like no other.
func (r *Reconciler) rendersAlike(ctx context.Context, app *v1alpha1.Application, a, b api.Revision) (bool, error) {
	var renders [2]string
	for i, rev := range []api.Revision{a, b} {
		want, err := desired(ctx, r.Render, app, rev, false)
		if _, bad := asProblems(err); bad {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		content := make([]any, len(want.Objects))
		for j, o := range want.Objects {
			content[j] = o.Object
		}
		text, err := json.Marshal(content)
		if err != nil {
			return false, fmt.Errorf("application %s at %s: %w", app.Name, Short(rev.Commit), err)
		}
		renders[i] = string(text)
	}
	return renders[0] == renders[1], nil
}

// Beside are the files outside of an Application's path that it depends on and that differ
// between a commit and the newest one, sorted: rolling back the path leaves them as they
// are. Where the import graph is not known there are none.
func (r *Reconciler) Beside(ctx context.Context, key types.NamespacedName, commit string) ([]string, error) {
	lists, ok := r.Sources.(Changes)
	if !ok {
		return nil, nil
	}
	var app v1alpha1.Application
	if err := r.Client.Get(ctx, key, &app); err != nil {
		return nil, err
	}
	newest, err := r.Sources.Revision(ctx, source(&app))
	if err != nil {
		return nil, err
	}
	then, err := r.Sources.RevisionAt(ctx, source(&app), commit)
	if err != nil {
		return nil, err
	}
	files, err := lists.Changes(ctx, source(&app), then.Commit, newest.Commit)
	if err != nil {
		return nil, err
	}
	beside := map[string]bool{}
	for _, rev := range []api.Revision{newest, then} {
		want, err := desired(ctx, r.Render, &app, rev, false)
		if _, bad := asProblems(err); err != nil && !bad {
			return nil, err
		}
		for _, f := range files {
			if !within(rootDir(&app), f) && want.Depends.On(f) {
				beside[f] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(beside)), nil
}

func within(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}
