package main

import (
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/demo"
	"slipway.dev/slipway/examples"
)

func demoCommand() *cobra.Command {
	o := demo.Options{Examples: examples.Files, Out: os.Stdout, In: os.Stdin}
	var verbose bool
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Play the whole story on this machine, from a git push to a page served, promoted and rolled back",
		GroupID: "run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = logger(verbose)
			return demo.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Once, "once", false, "play everything without waiting for Enter, then clean up")
	f.StringVar(&o.ReportFile, "report", "", "write what happened to this file, as JSON")
	f.BoolVar(&o.Keep, "keep", false, "leave the data in place at the end")
	f.StringVar(&o.Dir, "dir", "", "folder for everything the demo makes (default: a new one)")
	f.IntVar(&o.FirstPort, "first-port", 0, "where to begin to look for free ports (default 7080)")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}
