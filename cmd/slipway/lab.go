package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"slipway.dev/slipway/runtime/engine"
	"slipway.dev/slipway/runtime/lab"
)

func labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "lab",
		Short:   "Several Docker hosts on this machine, as Slipway's nodes: for trying out and for tests",
		GroupID: "run",
		Long: `A lab is some hosts on this machine: each is a network namespace with a Docker Engine of its
own, connected by a bridge. A server and nodes are started in them as on machines.`,
	}
	cmd.AddCommand(labUpCommand(), labDownCommand(), labLoadCommand(), labExecCommand(),
		labHostCommand("cut", "Part a host from all others, as a pulled cable does", func(_ context.Context, h *lab.Host) error { return h.Cut() }),
		labHostCommand("heal", "Undo cut", func(_ context.Context, h *lab.Host) error { return h.Heal() }), labKillCommand(),
		labHostCommand("start", "Start what a host should run and does not", func(ctx context.Context, h *lab.Host) error { return h.Start(ctx) }), labEtcdCommand())
	return cmd
}

func labFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", filepath.Join(filepath.Dir(defaultDataDir()), "slipway-lab"), "folder of the lab: two labs have two")
}

func labUpCommand() *cobra.Command {
	var o lab.Options
	var repo, branch, path, disk string
	var parameters []string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "up --repo URL --config FILE",
		Short:   "Make the hosts, start a server and nodes in them, and wait until every node is Ready",
		Args:    cobra.NoArgs,
		Example: "  slipway lab up --nodes 3 --repo file:///srv/git/config.git --config lab.yaml\n  slipway get nodes --config lab.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = logger(verbose)
			o.Up = []string{"--repo", repo}
			for flag, value := range map[string]string{"--branch": branch, "--path": path} {
				if value != "" {
					o.Up = append(o.Up, flag, value)
				}
			}
			for _, p := range parameters {
				o.Up = append(o.Up, "--parameter", p)
			}
			if o.Servers == 0 {
				return errors.New("--servers 0: a lab has a server")
			}
			if disk != "" {
				size, err := resource.ParseQuantity(disk)
				if err != nil {
					return fmt.Errorf("--disk %q: want a size such as 2Gi: %w", disk, err)
				}
				o.Disk = size.Value()
			}
			l, err := lab.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			ready := fmt.Sprintf("%d nodes are", o.Nodes)
			if o.Nodes == 1 {
				ready = "1 node is"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s Ready; the dashboard is at %s/\n", ready, l.API())
			return nil
		},
	}
	labFlag(cmd, &o.Dir)
	f := cmd.Flags()
	f.IntVar(&o.Nodes, "nodes", 3, "how many hosts")
	f.IntVar(&o.Servers, "servers", 1, "how many of them run a server; several share an etcd cluster")
	f.StringVar(&repo, "repo", "", "URL of the configuration repository (required); one of this machine by file://")
	f.StringVar(&branch, "branch", "", "branch to follow (default: the one that the repository's HEAD names)")
	f.StringVar(&path, "path", "", "folder of the repository that holds the configuration (default: its root)")
	f.StringArrayVar(&parameters, "parameter", nil, "NAME=VALUE handed to Jsonnet files and templates that declare NAME; may be repeated")
	f.StringVar(&o.Config, "config", "", "kubeconfig file to write, for slipway get --config and kubectl (required)")
	f.StringVar(&disk, "disk", "", "size of each host's own disk, which is in memory, such as 2Gi (default: this machine's disk)")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	_ = cmd.MarkFlagRequired("repo")
	_ = cmd.MarkFlagRequired("config")
	return cmd
}

func labDownCommand() *cobra.Command {
	var dir string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take away everything that the lab is, also what a killed `lab up` left",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := lab.Open(dir, logger(verbose))
			if errors.Is(err, lab.ErrNone) {
				return nil
			}
			if err != nil {
				return err
			}
			return l.Down()
		},
	}
	labFlag(cmd, &dir)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

func labLoadCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "load IMAGE",
		Short: "Copy an image from this machine's Docker Engine to every host",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(dir, nil)
			if err != nil {
				return err
			}
			from, err := engine.Connect(cmd.Context(), "")
			if err != nil {
				return err
			}
			defer from.Close()
			return l.Load(cmd.Context(), from, args[0])
		},
	}
	labFlag(cmd, &dir)
	return cmd
}

func labExecCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "exec NODE -- COMMAND [ARGUMENT...]",
		Short:   "Run a command in a host's network, with its Docker Engine in DOCKER_HOST",
		Args:    cobra.MinimumNArgs(2),
		Example: "  slipway lab exec node2 -- docker ps\n  slipway lab exec node2 -- ip route",
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := labHost(dir, args[0])
			if err != nil {
				return err
			}
			c := h.Command(args[1], args[2:]...)
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := h.Do(c.Start); err != nil {
				return err
			}
			err = c.Wait()
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() > 0 {
				return exitCode(exit.ExitCode())
			}
			return err
		},
	}
	labFlag(cmd, &dir)
	return cmd
}

// labHost is a host of the lab that is kept in dir.
func labHost(dir, name string) (*lab.Host, error) {
	l, err := lab.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	return l.Host(name)
}

func labHostCommand(verb, short string, do func(context.Context, *lab.Host) error) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   verb + " NODE",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := labHost(dir, args[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), h)
		},
	}
	labFlag(cmd, &dir)
	return cmd
}

func labKillCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "kill NODE PART",
		Short:   "End a part of a host at once, as a crash does: engine, server, agent or etcd",
		Args:    cobra.ExactArgs(2),
		Example: "  slipway lab kill node1 server\n  slipway lab start node1",
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := labHost(dir, args[0])
			if err != nil {
				return err
			}
			part := lab.Part(args[1])
			if !slices.Contains(h.Parts(), part) {
				return fmt.Errorf("host %s has no part %q: it has %v", h.Name, part, h.Parts())
			}
			return h.Kill(part)
		},
	}
	labFlag(cmd, &dir)
	return cmd
}

// labEtcdCommand is what a host's member of the etcd cluster runs as.
func labEtcdCommand() *cobra.Command {
	var dir, member string
	var peers []string
	cmd := &cobra.Command{
		Use:    "etcd",
		Short:  "Run a member of the etcd cluster of a lab's servers",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.ServeEtcd(cmd.Context(), dir, member, peers)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "data-dir", "", "folder of the member")
	f.StringVar(&member, "member", "", "its name")
	f.StringSliceVar(&peers, "peers", nil, "all members, as NAME=ADDRESS")
	return cmd
}
