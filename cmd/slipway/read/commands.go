package read

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
)

// DefaultServer is asked where neither --server nor SLIPWAY_SERVER names another.
const DefaultServer = "http://127.0.0.1:7080"

// Commands are the commands that read, of the group "read".
func Commands() []*cobra.Command {
	all := []*cobra.Command{getCommand(), describeCommand(), eventsCommand(), logsCommand(), topCommand(), portForwardCommand(), statusCommand(), parametersCommand(), historyCommand(), traceCommand(), waitCommand()}
	for _, cmd := range all {
		cmd.GroupID = "read"
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if err == nil || cmd.Context().Err() != nil {
				return nil
			}
			var coded interface{ ExitCode() int }
			if errors.As(err, &coded) {
				return err
			}
			return failure{err}
		}
	}
	return all
}

// ServerFlag adds --server, whose default is SLIPWAY_SERVER or else DefaultServer.
func ServerFlag(cmd *cobra.Command, address *string) {
	value := os.Getenv("SLIPWAY_SERVER")
	if value == "" {
		value = DefaultServer
	}
	cmd.Flags().StringVar(address, "server", value, "URL of the Slipway server (environment: SLIPWAY_SERVER)")
	configFlag(cmd, address)
}

// failure is an error of a command that reads. The process ends with 1, as kubectl's does.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// ExitCode is the code to end the process with.
func (failure) ExitCode() int { return 1 }

// scope is which projects a command looks at.
type scope struct {
	server  string
	project string
	all     bool
}

func (s *scope) flags(cmd *cobra.Command) {
	ServerFlag(cmd, &s.server)
	f := cmd.Flags()
	f.StringVarP(&s.project, "project", "n", os.Getenv("SLIPWAY_PROJECT"), "project to look at (environment: SLIPWAY_PROJECT; default: all of them)")
	f.StringVar(&s.project, "namespace", s.project, "same as --project")
	f.BoolVarP(&s.all, "all-projects", "A", false, "look at all projects, whatever SLIPWAY_PROJECT says")
	f.BoolVar(&s.all, "all-namespaces", false, "same as --all-projects")
	_ = f.MarkHidden("namespace")
	_ = f.MarkHidden("all-namespaces")
	_ = cmd.RegisterFlagCompletionFunc("project", s.completeProjects)
}

// in is the project to look at; empty: all.
func (s *scope) in() string {
	if s.all {
		return ""
	}
	return s.project
}
