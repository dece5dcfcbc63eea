package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
)

func explainCommand() *cobra.Command {
	var address, project, output string
	cmd := &cobra.Command{
		Use:     "explain pod NAME",
		Short:   "Show why a pod is on its node, or why it fits nowhere: every node, every predicate, every score",
		GroupID: "read",
		Long: `Show what the scheduler makes of a pod now, as if it were on no node: for every node the
predicates that refuse it, and for those that fit the score of each priority and their sum.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case args[0] != "pod" && args[0] != "po" && args[0] != "pods":
				return fmt.Errorf("explain %s: only pods can be explained", args[0])
			case project == "":
				return errors.New("-n PROJECT is required")
			}
			var a server.ExplainAnswer
			q := url.Values{"project": {project}, "pod": {args[1]}}
			if err := ask(cmd.Context(), address, "/slipway/v1/explain?"+q.Encode(), "", nil, &a); err != nil {
				return err
			}
			return show(cmd, output, a.Explanation, a.Text, 0, 0)
		},
	}
	read.ServerFlag(cmd, &address)
	f := cmd.Flags()
	f.StringVarP(&project, "project", "n", os.Getenv("SLIPWAY_PROJECT"), "project of the pod (environment: SLIPWAY_PROJECT)")
	f.StringVarP(&output, "output", "o", "", "json, with every predicate, or the outcome as text")
	return cmd
}
