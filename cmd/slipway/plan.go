package main

import (
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/cmd/slipway/server"
)

func planCommand() *cobra.Command {
	var address, project, output string
	cmd := &cobra.Command{
		Use:     "plan APPLICATION",
		Short:   "Show what an application is about to do, and what it waits for; exits 0 nothing, 1 something, 2 an error",
		GroupID: "read",
		Long: `Show the plan of an application at the newest revision of its repository, with the digest
that an approval names, and what the plan waits for: brakes, a window, a hold, health.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p server.PlanAnswer
			q := url.Values{"project": {project}, "application": {args[0]}}
			if err := ask(cmd.Context(), address, "/slipway/v1/plan?"+q.Encode(), "", nil, &p); err != nil {
				return err
			}
			return show(cmd, output, p, p.Text, p.Changes, p.Problems)
		},
	}
	read.ServerFlag(cmd, &address)
	f := cmd.Flags()
	f.StringVarP(&project, "project", "n", projectOfApplications(), "project of the application (environment: SLIPWAY_PROJECT)")
	f.StringVarP(&output, "output", "o", "", "json, or the plan as text")
	return cmd
}

// projectOfApplications is where applications are that no project is named for.
func projectOfApplications() string {
	if project := os.Getenv("SLIPWAY_PROJECT"); project != "" {
		return project
	}
	return api.SystemProject
}
