package read

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/api/v1alpha1"
	"slipway.dev/slipway/dashboard/table"
)

func historyCommand() *cobra.Command {
	s := &scope{}
	var plan bool
	var record string
	var names bool
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
			if record != "" {
				i := slices.IndexFunc(records, func(r v1alpha1.Record) bool { return r.Name == record })
				if i < 0 {
					return fmt.Errorf("application %s has no record %q; `slipway history %s --names` lists them", args[0], record, args[0])
				}
				return printRecord(cmd, &records[i])
			}
			if names {
				for _, r := range records {
					fmt.Fprintln(cmd.OutOrStdout(), r.Name)
				}
				return nil
			}
			if len(records) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "Nothing was applied yet.")
			}
			return printRecords(cmd, records, plan)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&plan, "plan", false, "with the plans")
	cmd.Flags().StringVar(&record, "record", "", "show one record with its plan")
	cmd.Flags().BoolVar(&names, "names", false, "only the records' names, for --record and for slipway rollback --to")
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
	api.NewestFirst(list.Items)
	return list.Items, nil
}

// printRecord shows all that a record says.
func printRecord(cmd *cobra.Command, r *v1alpha1.Record) error {
	rows := [][]string{{"record", r.Name}, {"application", r.Namespace + "/" + r.Spec.Application}, {"commit", r.Spec.Commit}}
	for _, row := range [][]string{
		{"before", r.Spec.Previous}, {"path", r.Spec.Path}, {"author", r.Spec.Author}, {"message", firstLine(r.Spec.Message)}, {"approved by", r.Spec.ApprovedBy},
		{"reason", r.Spec.Reason}, {"outcome", r.Spec.Outcome}, {"started", r.Spec.Started.UTC().Format("2006-01-02 15:04:05Z")},
		{"took", (time.Duration(r.Spec.Milliseconds) * time.Millisecond).String()}, {"plan", r.Spec.Digest},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	for _, image := range r.Spec.Images {
		rows = append(rows, []string{"image", image})
	}
	if err := newGrid(cmd).rows(rows...); err != nil {
		return err
	}
	for line := range strings.SplitSeq(strings.TrimSpace(r.Spec.Plan+"\n"+r.Spec.Detail), "\n") {
		fmt.Fprintln(cmd.OutOrStdout(), visible(line))
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func printRecords(cmd *cobra.Command, records []v1alpha1.Record, plan bool) error {
	rows := [][]string{{"APPLIED", "COMMIT", "OUTCOME", "REASON", "CHANGES", "AUTHOR", "APPROVED BY", "MESSAGE"}}
	g := newGrid(cmd)
	for _, r := range records {
		author, _, _ := strings.Cut(r.Spec.Author, " <")
		approver, _, _ := strings.Cut(r.Spec.ApprovedBy, " <")
		message := firstLine(r.Spec.Message)
		row := []string{ago(r.Spec.Started.Time) + " ago", table.Short(r.Spec.Commit), r.Spec.Outcome, r.Spec.Reason, table.RecordChanges(&r.Spec), author, approver, message}
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
