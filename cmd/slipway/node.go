package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/node"
	"slipway.dev/slipway/cmd/slipway/server"
	"slipway.dev/slipway/state/remote"
)

func nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node",
		Short:   "Make this host one of many: join a server, run its pods",
		GroupID: "run",
		Long: `A server that is started with --node-listen takes other hosts as nodes. On the server's host,
'slipway node token' makes a token; on the other host, 'slipway node join' joins with it and runs.
A node needs nothing but a Docker Engine and a way to the server's --node-listen address.`,
	}
	cmd.AddCommand(nodeTokenCommand(), nodeJoinCommand(), nodeRunCommand(), nodeLeaveCommand(), nodeRemoveCommand())
	return cmd
}

func nodeTokenCommand() *cobra.Command {
	var dir string
	var ttl time.Duration
	var revoke bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "On a server's host: make a token that nodes join with",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if revoke {
				n, err := server.RevokeNodeTokens(cmd.Context(), dir)
				if err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%d tokens have ended.\n", n)
				}
				return err
			}
			token, url, err := server.NodeToken(cmd.Context(), dir, ttl)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			fmt.Fprintf(cmd.ErrOrStderr(), "On the host that is to join, within %s:\n  slipway node join --server %s --token %s\n", ttl, url, token)
			return nil
		},
	}
	dataDirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&revoke, "revoke", false, "make none, and end all that were made")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long nodes may join with it, at most 720h")
	return cmd
}

func nodeJoinCommand() *cobra.Command {
	var c node.Config
	var sandboxes func() *int
	var s remote.Settings
	var token string
	var again, verbose bool
	cmd := &cobra.Command{
		Use:   "join --server URL --token TOKEN",
		Short: "Make this host a node, and run it",
		Args:  cobra.NoArgs,
		Example: "  slipway node join --server https://10.0.0.1:7082 --token 5f0c….9a….e3…\n" +
			"  slipway node join --server https://10.0.0.1:7082,https://10.0.0.2:7082 --token 5f0c….9a….e3… --node web-1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Log = logger(verbose)
			if token == "" {
				token = os.Getenv("SLIPWAY_TOKEN")
			}
			c.Sandboxes = sandboxes()
			return node.Join(cmd.Context(), c, s, token, again)
		},
	}
	nodeFlags(cmd, &c, &verbose)
	sandboxes = sandboxesFlag(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&s.Servers, "server", nil, "where a server's node API is; several are tried in this order (required)")
	f.StringVar(&token, "token", "", "what `slipway node token` prints on the server's host (environment: SLIPWAY_TOKEN)")
	f.StringVar(&s.Name, "node", "", "name of this node (default: the host's name)")
	f.StringVar(&s.Address, "address", "", "IP address that other hosts reach this one at (default: where the server sees it)")
	f.StringVar(&c.Listen, "listen", "", "address that servers ask this node at, for logs and metrics (default: "+node.DefaultListen+")")
	f.BoolVar(&again, "again", false, "join anew although this host has joined: for a certificate that ended too long ago")
	f.StringVar(&c.Name, "name", "", "name of this node's links, tables and chains; at most 7 letters (default: slipway)")
	f.StringVar(&c.PacketFilter, "packet-filter", "", "what makes service rules and isolation here: nftables, iptables or iptables-legacy (default: nftables where the kernel has it)")
	f.BoolVar(&c.NoRegistry, "no-registry", false, "leave the registry's loopback address alone: a server on this same host serves it")
	_ = cmd.MarkFlagRequired("server")
	return cmd
}

func nodeRunCommand() *cobra.Command {
	var c node.Config
	var sandboxes func() *int
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the node that this host became by join",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Log = logger(verbose)
			c.Sandboxes = sandboxes()
			return node.Run(cmd.Context(), c)
		},
	}
	nodeFlags(cmd, &c, &verbose)
	sandboxes = sandboxesFlag(cmd)
	return cmd
}

func nodeLeaveCommand() *cobra.Command {
	var c node.Config
	var verbose bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Take away what the node made on this host: containers, links, rules",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Log = logger(verbose)
			return node.Leave(cmd.Context(), c)
		},
	}
	nodeFlags(cmd, &c, &verbose)
	return cmd
}

func nodeRemoveCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "On a server's host: shut a node out, now and for good",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return server.RemoveNode(cmd.Context(), dir, args[0])
		},
	}
	dataDirFlag(cmd, &dir)
	return cmd
}

// sandboxesFlag returns what was said, when the flags are read; nil: nothing.
func sandboxesFlag(cmd *cobra.Command) func() *int {
	n := cmd.Flags().Int("sandboxes", 0, "how many sandboxes are kept ready, so that pods start sooner; 0: none (default: as before, else 2)")
	return func() *int {
		if !cmd.Flags().Changed("sandboxes") {
			return nil
		}
		return n
	}
}

func nodeFlags(cmd *cobra.Command, c *node.Config, verbose *bool) {
	cmd.Flags().StringVar(&c.DataDir, "data-dir", defaultDataDir()+"-node", "folder of the node's certificate, of what it has seen, and of its pods' files")
	cmd.Flags().BoolVarP(verbose, "verbose", "v", false, "log more")
}
