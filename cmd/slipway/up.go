package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"slipway.dev/slipway/cmd/slipway/server"
)

func upCommand() *cobra.Command {
	var c server.Config
	var parameters []string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "up --repo URL",
		Short:   "Run everything on this machine, following a repository",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Example: "  slipway up --repo https://git.example.com/team/config.git\n" +
			"  slipway up --repo file:///srv/git/config.git --path clusters/home --parameter domain=apps.example.com",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Parameters = map[string]string{}
			for _, p := range parameters {
				name, value, ok := strings.Cut(p, "=")
				if !ok || name == "" {
					return fmt.Errorf("--parameter %q: want NAME=VALUE", p)
				}
				c.Parameters[name] = value
			}
			c.Log = logger(verbose)
			c.Version = version
			return server.Run(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Repo, "repo", "", "URL of the configuration repository (required)")
	f.StringVar(&c.RepoCredentials, "repo-credentials", "", "folder with the files username and password, bearerToken, or identity and known_hosts")
	f.StringVar(&c.SigningKey, "signing-key", "", "SSH private key that signs Slipway's commits and tags, in repositories that bring none (default: they are not signed)")
	f.StringVar(&c.Committer, "committer", "", "who commits, such as 'Slipway <slipway@example.com>' (default: Slipway <slipway@localhost>)")
	f.StringSliceVar(&c.GitSchemes, "git-schemes", server.GitSchemes, "schemes of repositories that may be followed; git may be added, which neither encrypts nor knows who answers")
	f.StringVar(&c.Branch, "branch", "", "branch to follow (default: the one that the repository's HEAD names)")
	f.StringVar(&c.Path, "path", "", "folder of the repository that holds the configuration (default: its root)")
	f.StringArrayVar(&parameters, "parameter", nil, "NAME=VALUE handed to Jsonnet files and templates that declare NAME; may be repeated")
	dataDirFlag(cmd, &c.DataDir)
	f.StringSliceVar(&c.Etcd, "etcd", nil, "endpoints of an existing etcd cluster (default: an embedded one)")
	f.StringVar(&c.Listen, "listen", server.DefaultListen, "address of the API, the dashboard and the webhooks")
	f.StringVar(&c.Registry, "registry", server.DefaultRegistry, "address of the registry; Docker takes plain HTTP only on loopback")
	f.StringVar(&c.NodeListen, "node-listen", "", "address of the API that other hosts' nodes join by, such as 10.0.0.1:7082 (default: none may)")
	f.StringVar(&c.Router, "router", ":80", "address of the router for HTTP")
	f.StringVar(&c.RouterTLS, "router-tls", ":443", "address of the router for HTTPS")
	f.StringVar(&c.Target, "target", "", "kubeconfig file of a Kubernetes cluster that gets what applications declare, as far as it serves it (default: this machine)")
	f.StringVar(&c.Domain, "domain", "localhost", "domain of routes that name no host: <route>-<project>.<domain>")
	f.StringVar(&c.GitRoot, "git-root", "", "folder of bare repositories to serve below /git (default: none)")
	f.StringVar(&c.Node, "node", "", "name of this node (default: the host's name)")
	f.StringVar(&c.Name, "name", "slipway", "name of this instance's links, tables and chains; at most 7 letters")
	f.StringVar(&c.ClusterNetwork, "cluster-network", "10.128.0.0/14", "addresses of pods")
	f.StringVar(&c.ServiceNetwork, "service-network", "172.30.0.0/16", "addresses of services")
	f.StringSliceVar(&c.ExternalNetworks, "external-ip-network", nil, "networks that services' externalIPs may be from, !NETWORK for what is taken out of them (default: none)")
	f.StringVar(&c.IngressNetwork, "ingress-network", "", "addresses of services of type LoadBalancer, which something else routes to the nodes (default: they stay without)")
	f.StringVar(&c.PacketFilter, "packet-filter", "", "what makes service rules and isolation: nftables, iptables or iptables-legacy (default: nftables where the kernel has it)")
	f.IntVar(&c.Sandboxes, "sandboxes", 2, "how many sandboxes are kept ready, so that pods start sooner; 0: none")
	f.BoolVar(&c.FlatNetwork, "flat-network", false, "let projects reach each other's pods")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	f.StringVar(&c.Machine, "machine", "", "address of the machine that a lab is on, which may run commands in pods as this host may")
	_ = f.MarkHidden("machine")
	_ = cmd.MarkFlagRequired("repo")
	return cmd
}

func downCommand() *cobra.Command {
	var dir string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Take away what `up` made on this machine: containers, links, rules; the data stays",
		GroupID: "run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return server.Down(cmd.Context(), dir, logger(verbose))
		},
	}
	dataDirFlag(cmd, &dir)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

func dataDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data-dir", defaultDataDir(), "folder of live state, images and logs")
}

func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/slipway"
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "slipway")
	}
	return "slipway-data"
}

func logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
