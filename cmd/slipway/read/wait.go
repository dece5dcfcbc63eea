package read

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

// The codes that `wait` ends with, beside 0 and the 2 of an error.
const (
	waitRefused = 1
	waitTimeout = 3
)

// waitError ends the process with a code.
type waitError struct {
	error
	code int
}

func (e waitError) Unwrap() error { return e.error }

// ExitCode is the code to end the process with.
func (e waitError) ExitCode() int { return e.code }

// lookEvery is how often the server is asked.
const lookEvery = 200 * time.Millisecond

// quiet is how long an application is given to begin with a commit that its repository has.
// One that does not begin is not concerned by it.
const quiet = 5 * time.Second

func waitCommand() *cobra.Command {
	s := &scope{}
	var until, commit string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait APPLICATION",
		Short: "Wait until an application, or a commit of it, is live and healthy",
		Long: `Waits until an application is ready: its newest commit is applied, and everything is
healthy. With --for applied health is not waited for; with --commit a certain commit is.

Ends with 0 when it is so, with 1 when the commit was refused or its objects failed,
with 2 on an error, and with 3 when that took longer than --timeout.`,
		Example: "  slipway wait shop-dev --commit $(git rev-parse HEAD) --timeout 10m",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return s.complete(cmd, append([]string{"applications"}, args...), "")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if until != "ready" && until != "applied" {
				return waitError{fmt.Errorf("--for %q: want ready or applied", until), 2}
			}
			if commit != "" && !isCommit(commit) {
				return waitError{fmt.Errorf("--commit %q: want at least seven digits of a commit", commit), 2}
			}
			ctx, stop := context.WithTimeout(cmd.Context(), timeout)
			defer stop()
			w := &wait{scope: s, name: args[0], commit: commit, health: until == "ready"}
			return w.run(ctx, cmd)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&until, "for", "ready", "ready: applied and healthy; applied: health is not waited for")
	cmd.Flags().StringVar(&commit, "commit", "", "the commit, or its first seven digits or more (default: whatever is newest)")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

type wait struct {
	*scope
	name, commit string
	health       bool
	// seen is when the repository was first seen to have the commit.
	seen time.Time
}

// verdict is what one look found.
type verdict struct {
	done    bool
	failed  bool
	message string
}

func (w *wait) run(ctx context.Context, cmd *cobra.Command) error {
	last := ""
	for {
		v, err := w.look(ctx)
		switch {
		case ctx.Err() != nil && cmd.Context().Err() == nil:
			return waitError{fmt.Errorf("application %s: still waits: %s", w.name, last), waitTimeout}
		case err != nil:
			return waitError{err, 2}
		case v.failed:
			return waitError{fmt.Errorf("application %s: %s", w.name, v.message), waitRefused}
		case v.message != last:
			fmt.Fprintln(cmd.ErrOrStderr(), visible(w.name+": "+v.message))
			last = v.message
		}
		if v.done {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

func (w *wait) look(ctx context.Context) (verdict, error) {
	applications, err := kind("applications")
	if err != nil {
		return verdict{}, err
	}
	o, err := w.find(ctx, applications, w.name)
	if err != nil {
		return verdict{}, err
	}
	var app v1alpha1.Application
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &app); err != nil {
		return verdict{}, err
	}
	if w.commit == "" || strings.HasPrefix(app.Status.LastAppliedCommit, w.commit) || strings.HasPrefix(app.Status.LastAttemptedCommit, w.commit) {
		return judgeWait(&app, w.commit, w.health), nil
	}
	return w.elsewhere(ctx, &app)
}

// judgeWait says how far an application is with a commit; empty: with its newest.
func judgeWait(app *v1alpha1.Application, commit string, health bool) verdict {
	s := &app.Status
	ready := meta.FindStatusCondition(s.Conditions, "Ready")
	message := "has not been looked at yet"
	if ready != nil {
		message, _, _ = strings.Cut(ready.Message, "\n")
	}
	applied := s.LastAppliedCommit != "" && s.LastAppliedCommit == s.LastAttemptedCommit && len(s.Problems) == 0 && s.ObservedGeneration >= app.Generation
	if commit != "" {
		applied = applied && strings.HasPrefix(s.LastAppliedCommit, commit)
	}
	switch {
	case applied && (!health || ready != nil && ready.Status == metav1.ConditionTrue):
		return verdict{done: true, message: "applied " + table.Short(s.LastAppliedCommit)}
	case len(s.Problems) > 0, ready != nil && ready.Reason == "HealthCheckFailed" && ready.Status == metav1.ConditionFalse && health:
		return verdict{failed: true, message: cutLines(ready, message)}
	}
	return verdict{message: message}
}

func cutLines(ready *metav1.Condition, otherwise string) string {
	if ready == nil {
		return otherwise
	}
	return ready.Message
}

// elsewhere finds out about a commit that the application's status does not name: it was
// applied and something newer is live, it does not concern the application, or it is still to come.
func (w *wait) elsewhere(ctx context.Context, app *v1alpha1.Application) (verdict, error) {
	records, err := kind("records")
	if err != nil {
		return verdict{}, err
	}
	var list v1alpha1.RecordList
	if err := w.object(ctx, path(records, app.Namespace, ""), url.Values{"fieldSelector": {"spec.application=" + app.Name}}, &list); err != nil {
		return verdict{}, err
	}
	if slices.ContainsFunc(list.Items, func(r v1alpha1.Record) bool {
		return strings.HasPrefix(r.Spec.Commit, w.commit) && r.Spec.Outcome == "Applied"
	}) {
		return verdict{done: true, message: "applied " + w.commit + ", and is at " + table.Short(app.Status.LastAppliedCommit) + " now"}, nil
	}
	repositories, err := kind("gitrepositories")
	if err != nil {
		return verdict{}, err
	}
	var repository v1alpha1.GitRepository
	namespace := app.Spec.SourceRef.Namespace
	if namespace == "" {
		namespace = app.Namespace
	}
	if err := w.object(ctx, path(repositories, namespace, app.Spec.SourceRef.Name), nil, &repository); err != nil {
		return verdict{}, err
	}
	if a := repository.Status.Artifact; a == nil || !strings.HasPrefix(a.Commit, w.commit) {
		w.seen = time.Time{}
		return verdict{message: "waits for commit " + w.commit + " to arrive"}, nil
	}
	if w.seen.IsZero() {
		w.seen = time.Now()
	}
	v := judgeWait(app, "", w.health)
	if time.Since(w.seen) >= quiet && v.done {
		v.message = w.commit + " does not concern it; it stays at " + table.Short(app.Status.LastAppliedCommit)
		return v, nil
	}
	return verdict{message: "waits for commit " + w.commit + " to be looked at"}, nil
}
