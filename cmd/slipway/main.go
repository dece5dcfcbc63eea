// Command slipway is the application platform: the server (`up`), the demo, and the
// commands that read.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // windows name time zones, also on hosts that have none

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/read"
	"slipway.dev/slipway/render"
)

// version is set at build time.
var version = "dev"

// exitCode is an error that carries the code to end with, and that has been told already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	// The renderer's child must do nothing before it is confined.
	if len(os.Args) > 1 && os.Args[1] == "render-child" {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	cmd := root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var told exitCode
	if err == nil {
		return 0
	}
	if errors.As(err, &told) {
		return int(told)
	}
	fmt.Fprintln(os.Stderr, "slipway: "+err.Error())
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 2
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "slipway",
		Short: "An application platform for plain Docker hosts, driven by nothing but git",
		Long: `Slipway runs what a git repository says: projects, builds, image streams,
deployments, routes and templates, as OpenShift 3 has them, on plain Docker hosts.
Everything is changed by a commit, a tag or a signed hook. The commands here read, with three
exceptions: rollback commits, with your own git, override breaks the glass, signed, and exec
looks inside of a container, and the pod says so.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddGroup(
		&cobra.Group{ID: "run", Title: "Running it:"},
		&cobra.Group{ID: "read", Title: "Looking:"},
		&cobra.Group{ID: "repo", Title: "Working on a repository:"},
	)
	cmd.AddCommand(upCommand(), downCommand(), nodeCommand(), demoCommand(), labCommand(), execCommand(), webhooksCommand(), registryLoginCommand())
	cmd.AddCommand(diffCommand(), processCommand(), renderCommand(), lintCommand(), schemaCommand(), affectedCommand())
	cmd.AddCommand(explainCommand(), planCommand(), overrideCommand(), rollbackCommand())
	cmd.AddCommand(backupCommand(), restoreCommand(), rotateKeyCommand())
	cmd.AddCommand(postReceiveCommand())
	cmd.AddCommand(read.Commands()...)
	tellUsage(cmd)
	return cmd
}

// tellUsage has wrong arguments answered by how the command is called, and a word that is no
// command of a group of them refused, where it would print help and succeed.
func tellUsage(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() && !c.Runnable() {
			c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		if check := c.Args; check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return fmt.Errorf("%w; usage: %s", err, cmd.UseLine())
				}
				return nil
			}
		}
		tellUsage(c)
	}
}
