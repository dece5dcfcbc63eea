package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

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
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, _ := strings.Cut(args[0], "/")
			if len(args) == 2 {
				kind, name = args[0], args[1]
			}
			switch {
			case kind != "pod" && kind != "po" && kind != "pods":
				return fmt.Errorf("explain %s: only pods can be explained", kind)
			case name == "":
				return errors.New("want pod NAME, or pod/NAME")
			case project == "":
				return errors.New("-n PROJECT is required")
			}
			var a server.ExplainAnswer
			q := url.Values{"project": {project}, "pod": {name}}
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
