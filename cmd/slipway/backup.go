package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/server"
)

func backupCommand() *cobra.Command {
	var dir string
	var etcd, recipients []string
	cmd := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Write all of live state to a file, while the server runs or not",
		GroupID: "run",
		Args:    cobra.ExactArgs(1),
		Long: `Writes every object, as of one moment, with a digest of each, and the key that Secrets are
sealed with: encrypted for --recipient, or open. Keep a file with an open key as you
would keep the passwords. The file must not exist yet.`,
		Example: "  slipway backup /backup/$(date +%F).tgz --recipient age1…",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := server.Backup(cmd.Context(), dir, etcd, args[0], recipients)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d objects as of revision %d\n", m.Objects(), m.Revision)
			if len(recipients) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "slipway: the file holds the sealing key: keep it as you would keep the passwords")
			}
			return nil
		},
	}
	dataDirFlag(cmd, &dir)
	etcdFlag(cmd, &etcd)
	cmd.Flags().StringSliceVar(&recipients, "recipient", nil, "age recipient (age1…) to encrypt the sealing key for; may be repeated")
	return cmd
}

func restoreCommand() *cobra.Command {
	var dir, identities string
	cmd := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Make the live state of a new data directory from a backup",
		GroupID: "run",
		Args:    cobra.ExactArgs(1),
		Long: `Verifies every digest before it writes anything, and refuses a file that was cut or
changed, and a data directory that has live state already. Then run "slipway up" on it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := server.Restore(cmd.Context(), dir, args[0], identities)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d objects of %s\n", m.Objects(), m.Made.Format("2006-01-02 15:04:05 MST"))
			return nil
		},
	}
	dataDirFlag(cmd, &dir)
	cmd.Flags().StringVar(&identities, "identity", "", "file of the age identity that the backup was made for")
	return cmd
}

func rotateKeyCommand() *cobra.Command {
	var dir string
	var etcd []string
	cmd := &cobra.Command{
		Use:     "rotate-key",
		Short:   "Seal all Secrets with a new key; the server must be stopped",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Long: `Makes a new sealing key, seals everything anew with it, and forgets the old one. If
it is interrupted, run it again: nothing is lost. Backups made before keep their own key.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := server.RotateKey(cmd.Context(), dir, etcd)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d objects sealed anew\n", n)
			return nil
		},
	}
	dataDirFlag(cmd, &dir)
	etcdFlag(cmd, &etcd)
	return cmd
}

func etcdFlag(cmd *cobra.Command, endpoints *[]string) {
	cmd.Flags().StringSliceVar(endpoints, "etcd", nil, "endpoints of the etcd cluster (default: the one that up was given)")
}
