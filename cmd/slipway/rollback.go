package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/reconciler/gate"
)

// wayBack is what `slipway rollback` is told.
type wayBack struct {
	address, project, to, branch, url, reason string
	hold, noHold                              bool
	also                                      []string
}

func rollbackCommand() *cobra.Command {
	var w wayBack
	cmd := &cobra.Command{
		Use:     "rollback APPLICATION",
		Short:   "Go back to what was applied before, by a commit",
		GroupID: "run",
		Long: `Write a commit that puts the application's folder, with its image lock, back to how it was when
an earlier record was applied, and push it with your own git and your own credentials. The commit
that is left, and the images that it brought into the lock, are held: they are written down in
` + api.HoldsFile + ` in that folder, and neither applied nor promoted again until a commit takes them out.

A rollback passes the windows of the application; its brakes and its other holds bind it.`,
		Example: "  slipway rollback shop-prod\n  slipway rollback shop-prod --to 3f2a91c --branch back-to-monday",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.hold = !w.noHold
			return w.run(cmd, args[0])
		},
	}
	read.ServerFlag(cmd, &w.address)
	f := cmd.Flags()
	f.StringVarP(&w.project, "project", "n", projectOfApplications(), "project of the application (environment: SLIPWAY_PROJECT)")
	f.StringVar(&w.to, "to", "", "record, or beginning of a commit, to go back to (default: what was applied before)")
	f.BoolVar(&w.hold, "hold", true, "hold what is left: it is not applied again until somebody lifts that")
	f.BoolVar(&w.noHold, "no-hold", false, "hold nothing")
	f.StringVar(&w.branch, "branch", "", "push to this new branch, for a pull request (default: the branch that is followed)")
	f.StringVar(&w.url, "url", "", "the repository's address as you reach it (default: the one the server uses)")
	f.StringVar(&w.reason, "reason", "", "why, for the commit and the hold")
	f.StringArrayVar(&w.also, "also", nil, "another file or folder to put back, such as a library; may be repeated")
	return cmd
}

// back is what is to be gone back from, and to.
type back struct {
	app       v1alpha1.Application
	repo      v1alpha1.GitRepository
	bad, good v1alpha1.RecordSpec
}

func (w wayBack) run(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	b, err := w.look(ctx, name)
	if err != nil {
		return err
	}
	c, err := cloneFor(ctx, cmp.Or(w.url, b.repo.Spec.URL), b.followed(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.remove()
	commit, held, err := c.rollBack(ctx, w, b)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s goes back from %s to %s: commit %s on %s\n", name, abbreviated(b.bad.Commit), abbreviated(b.good.Commit), abbreviated(commit), cmp.Or(w.branch, c.branch))
	for _, h := range held {
		fmt.Fprintf(out, "held: %s\n", cmp.Or(h.Digest, "commit "+h.Commit))
	}
	var beside server.BesideAnswer
	q := url.Values{"project": {w.project}, "application": {name}, "commit": {b.good.Commit}}
	if err := ask(ctx, w.address, "/slipway/v1/beside?"+q.Encode(), "", nil, &beside); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "what else the application depends on is not known: %v\n", err)
		return nil
	}
	left := slices.DeleteFunc(beside.Files, func(f string) bool { return slices.Contains(w.also, f) })
	if len(left) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "not put back, because others may use them: %s (--also puts them back)\n", strings.Join(left, ", "))
	}
	return nil
}

// look asks the server where the application is and where it was.
func (w wayBack) look(ctx context.Context, name string) (back, error) {
	var b back
	if err := askObject(ctx, w.address, kindOf("Application"), w.project, name, &b.app); err != nil {
		return b, err
	}
	ref := b.app.Spec.SourceRef
	if err := askObject(ctx, w.address, kindOf("GitRepository"), cmp.Or(ref.Namespace, w.project), ref.Name, &b.repo); err != nil {
		return b, err
	}
	var records v1alpha1.RecordList
	if err := askObject(ctx, w.address, kindOf("Record"), w.project, "", &records); err != nil {
		return b, err
	}
	var err error
	b.bad, b.good, err = chooseRecords(records.Items, name, w.to)
	return b, err
}

func kindOf(name string) api.Kind {
	k, _ := api.KindNamed(name)
	return k
}

// followed is the branch that is followed; empty: the repository's HEAD.
func (b back) followed() string {
	if ref := b.repo.Spec.Reference; ref != nil {
		return ref.Branch
	}
	return ""
}

// chooseRecords finds the last change of an application that came from git, and where to go
// back to: the change before, or the one that `to` names.
func chooseRecords(all []v1alpha1.Record, app, to string) (bad, good v1alpha1.RecordSpec, err error) {
	records := slices.DeleteFunc(slices.Clone(all), func(r v1alpha1.Record) bool {
		return r.Spec.Application != app || r.Spec.Outcome != "Applied" || r.Spec.Reason == "Drift" || r.Spec.Reason == "Override"
	})
	api.NewestFirst(records)
	if len(records) == 0 {
		return bad, good, fmt.Errorf("application %s has no record of anything that was applied", app)
	}
	bad = records[0].Spec
	for _, r := range records {
		named := to != "" && (r.Name == to || len(to) >= 7 && strings.HasPrefix(r.Spec.Commit, strings.ToLower(to)))
		if named && r.Spec.Commit == bad.Commit {
			return bad, good, fmt.Errorf("application %s is at %s: there is nothing to go back from", app, abbreviated(bad.Commit))
		}
		if named || to == "" && r.Spec.Commit != bad.Commit {
			return bad, r.Spec, nil
		}
	}
	if to == "" {
		return bad, good, fmt.Errorf("application %s was at no other commit than %s", app, abbreviated(bad.Commit))
	}
	return bad, good, fmt.Errorf("application %s has no record %s: see `slipway history %s`", app, to, app)
}

func abbreviated(commit string) string { return commit[:min(len(commit), 7)] }

// message of the commit. Its trailers tell the server what it is.
func (b back) message(reason string) string {
	var m strings.Builder
	fmt.Fprintf(&m, "roll %s back to %s\n\n", b.app.Name, abbreviated(b.good.Commit))
	if reason != "" {
		m.WriteString(reason + "\n\n")
	}
	for _, r := range []struct {
		word string
		v1alpha1.RecordSpec
	}{{"from", b.bad}, {"to", b.good}} {
		subject, _, _ := strings.Cut(r.Message, "\n")
		fmt.Fprintf(&m, "%s %s %s\n", r.word, abbreviated(r.Commit), subject)
	}
	key := types.NamespacedName{Namespace: b.app.Namespace, Name: b.app.Name}
	fmt.Fprintf(&m, "\n%s: %s..%s\nSlipway-Application: %s\n", gate.RollbackTrailer, b.bad.Commit, b.good.Commit, key)
	return m.String()
}

// holds are those that the folder has, and those of what is left.
func (b back) holds(old, now, then []byte, reason string) (all, added []v1alpha1.Hold, err error) {
	if all, err = api.ParseHolds(old); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", api.HoldsFile, err)
	}
	reason = cmp.Or(reason, "rolled back to "+abbreviated(b.good.Commit))
	wanted := []v1alpha1.Hold{{Commit: b.bad.Commit, Reason: reason}}
	left, err := lockedDigests(now)
	if err != nil {
		return nil, nil, err
	}
	kept, err := lockedDigests(then)
	if err != nil {
		return nil, nil, err
	}
	for _, digest := range left {
		if !slices.Contains(kept, digest) {
			wanted = append(wanted, v1alpha1.Hold{Digest: digest, Reason: reason})
		}
	}
	for _, h := range wanted {
		if !slices.ContainsFunc(all, func(o v1alpha1.Hold) bool { return o.Commit == h.Commit && o.Digest == h.Digest && o.Until == nil }) {
			all, added = append(all, h), append(added, h)
		}
	}
	// What is gone back to is held no longer.
	all = slices.DeleteFunc(all, func(h v1alpha1.Hold) bool {
		return h.Commit == b.good.Commit || h.Digest != "" && slices.Contains(kept, h.Digest)
	})
	return all, added, nil
}

// errNothing says that a rollback would change nothing.
var errNothing = errors.New("the branch already has the folder as it was then: nothing to roll back")

// ownEnvironment keeps a git process away from a repository that it is called in.
func ownEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GIT_DIR=") || strings.HasPrefix(v, "GIT_WORK_TREE=") || strings.HasPrefix(v, "GIT_INDEX_FILE=")
	})
}
