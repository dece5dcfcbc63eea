package read

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

func historyCommand() *cobra.Command {
	s := &scope{}
	var plan bool
	cmd := &cobra.Command{
		Use:   "history APPLICATION",
		Short: "Show what was applied when, from which commit, the newest first",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return s.complete(cmd, append([]string{"applications"}, args...), "")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := s.records(cmd, args[0])
			if err != nil {
				return err
			}
			if len(records) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "Nothing was applied yet.")
			}
			return printRecords(cmd, records, plan)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&plan, "plan", false, "with the plans")
	return cmd
}

func (s *scope) records(cmd *cobra.Command, name string) ([]v1alpha1.Record, error) {
	applications, err := kind("applications")
	if err != nil {
		return nil, err
	}
	app, err := s.find(cmd.Context(), applications, name)
	if err != nil {
		return nil, err
	}
	records, err := kind("records")
	if err != nil {
		return nil, err
	}
	var list v1alpha1.RecordList
	if err := s.object(cmd.Context(), path(records, app.GetNamespace(), ""), url.Values{"fieldSelector": {"spec.application=" + name}}, &list); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list.Items, func(a, b v1alpha1.Record) int { return b.Spec.Started.Compare(a.Spec.Started.Time) })
	return list.Items, nil
}

func printRecords(cmd *cobra.Command, records []v1alpha1.Record, plan bool) error {
	rows := [][]string{{"APPLIED", "COMMIT", "OUTCOME", "REASON", "CHANGES", "AUTHOR", "MESSAGE"}}
	g := newGrid(cmd)
	for _, r := range records {
		author, _, _ := strings.Cut(r.Spec.Author, " <")
		message, _, _ := strings.Cut(r.Spec.Message, "\n")
		row := []string{ago(r.Spec.Started.Time) + " ago", table.Short(r.Spec.Commit), r.Spec.Outcome, r.Spec.Reason, table.RecordChanges(&r.Spec), author, message}
		if !plan {
			rows = append(rows, row)
			continue
		}
		if err := g.rows(append(rows, row)...); err != nil {
			return err
		}
		rows = nil
		for line := range strings.SplitSeq(strings.TrimSpace(r.Spec.Plan+"\n"+r.Spec.Detail), "\n") {
			fmt.Fprintln(cmd.OutOrStdout(), "    "+visible(line))
		}
	}
	if len(records) == 0 {
		return nil
	}
	return g.rows(rows...)
}
