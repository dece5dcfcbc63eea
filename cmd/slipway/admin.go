package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/sources/gitserver"
)

// webhooksCommand prints secrets, so it reads the data directory, which only the
// machine's administrator can, and not the API.
func webhooksCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "webhooks",
		Short:   "Print the webhooks to enter at your git host, with their secrets",
		GroupID: "run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hooks, err := server.Webhooks(cmd.Context(), dir)
			if err != nil {
				return err
			}
			for _, h := range hooks {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", h.For, h.URL, h.Secret)
			}
			return nil
		},
	}
	dataDirFlag(cmd, &dir)
	return cmd
}

func registryLoginCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "registry-login",
		Short:   "Print user:password for pushes to the registry",
		GroupID: "run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, password, err := server.RegistryLogin(dir)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s:%s\n", user, password)
			}
			return err
		},
	}
	dataDirFlag(cmd, &dir)
	return cmd
}

func postReceiveCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "post-receive",
		Short:  "Call the webhooks of a repository after a push (git runs this)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return gitserver.PostReceive(cmd.Context(), os.Stdin, gitserver.PostReceiveOptions{Dir: dir, Out: os.Stdout})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "the bare repository")
	return cmd
}
