package read
import "github.com/spf13/cobra"
func describeCommand() *cobra.Command {return &cobra.Command{Use:"describe",RunE: func(*cobra.Command,[]string) error {return nil}}}
func eventsCommand() *cobra.Command {return &cobra.Command{Use:"events",RunE: func(*cobra.Command,[]string) error {return nil}}}
func logsCommand() *cobra.Command {return &cobra.Command{Use:"logs",RunE: func(*cobra.Command,[]string) error {return nil}}}
func statusCommand() *cobra.Command {return &cobra.Command{Use:"status",RunE: func(*cobra.Command,[]string) error {return nil}}}
func historyCommand() *cobra.Command {return &cobra.Command{Use:"history",RunE: func(*cobra.Command,[]string) error {return nil}}}
