// Package server wires the parts into one process: the only place that knows every
// other.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"slipway.dev/slipway/reconciler/service"
)

// The addresses that are listened on unless told otherwise: loopback, because neither
// surface knows users yet.
const (
	DefaultListen   = "127.0.0.1:7080"
	DefaultRegistry = "127.0.0.1:7081"
)

// System is the project of Slipway's own objects.
const System = "slipway"

// Root is the name of the GitRepository and of the Application that `up` is given.
const Root = "root"

// Config is what `slipway up` is told.
type Config struct {
	// Repo is the URL of the configuration repository; Branch and Path say what of it.
	Repo, Branch, Path string
	// RepoCredentials is a folder with the files username and password, bearerToken, or
	// identity and known_hosts; empty: the repository is readable by everybody.
	RepoCredentials string
	// SigningKey is a file with an SSH private key that signs commits and tags; empty: only
	// those are signed whose GitRepository has a key.
	SigningKey string
	// Committer of what Slipway commits, such as Slipway <slipway@example.com>; empty: the
	// default of package sources.
	Committer string
	// GitSchemes are those of URLs that are fetched from; nil: GitSchemes.
	GitSchemes []string
	Parameters map[string]string
	// DataDir holds live state, mirrors, images and logs.
	DataDir string
	// Etcd are the endpoints of an existing cluster; empty: embedded.
	Etcd []string
	// Listen is the address of the API, the dashboard and the webhooks.
	Listen, Registry, Router, RouterTLS string
	// NodeListen is where the node API is served; empty: no nodes join.
	NodeListen string
	// Machine is an address besides loopback ones that may connect to pods and, with the token, run commands
	// in them: that of the machine whose network namespaces the hosts of a lab are. Empty: there is none.
	Machine string
	// Target is a kubeconfig file of the cluster that gets what Applications declare; empty: this one.
	Target string
	// Domain of routes that name no host.
	Domain string
	// GitRoot holds bare repositories to serve below /git; empty: none.
	GitRoot string
	// Node is this node's name; Name begins the names of links, tables and chains.
	Node, Name                     string
	ClusterNetwork, ServiceNetwork string
	FlatNetwork                    bool
	// PacketFilter is nftables, iptables or iptables-legacy; empty: what the kernel has.
	PacketFilter string
	// Sandboxes is how many sandboxes are kept ready for pods to come; 0: none.
	Sandboxes int
	// ExternalNetworks are those that services' externalIPs may be from; IngressNetwork is
	// that of services of type LoadBalancer. Empty: none.
	ExternalNetworks []string
	IngressNetwork   string
	Version          string
	Log              *slog.Logger

	clusterNetwork, serviceNetwork, ingressNetwork netip.Prefix
	externalNetworks                               []service.Range
	machine                                        netip.Addr
}

func (c *Config) complete() error {
	var errs []error
	if c.Repo == "" {
		errs = append(errs, errors.New("--repo: the URL of a repository is required"))
	}
	if c.Node == "" {
		host, err := os.Hostname()
		errs = append(errs, err)
		c.Node = host
	}
	var err error
	if c.clusterNetwork, err = netip.ParsePrefix(c.ClusterNetwork); err != nil {
		errs = append(errs, fmt.Errorf("--cluster-network %q: want a network such as 10.128.0.0/14", c.ClusterNetwork))
	}
	if c.serviceNetwork, err = netip.ParsePrefix(c.ServiceNetwork); err != nil {
		errs = append(errs, fmt.Errorf("--service-network %q: want a network such as 172.30.0.0/16", c.ServiceNetwork))
	}
	if c.externalNetworks, err = service.ParseRanges(c.ExternalNetworks); err != nil {
		errs = append(errs, fmt.Errorf("--external-ip-network %w", err))
	}
	if c.Machine != "" {
		if c.machine, err = netip.ParseAddr(c.Machine); err != nil {
			errs = append(errs, fmt.Errorf("--machine %q: want an address", c.Machine))
		}
	}
	if c.IngressNetwork != "" {
		if c.ingressNetwork, err = netip.ParsePrefix(c.IngressNetwork); err != nil {
			errs = append(errs, fmt.Errorf("--ingress-network %q: want a network such as 192.0.2.0/24", c.IngressNetwork))
		}
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Where things are below the data directory.
func (c *Config) stateDir() string    { return filepath.Join(c.DataDir, "state") }
func (c *Config) registryDir() string { return filepath.Join(c.DataDir, "registry") }
func (c *Config) dir(name string) string {
	return filepath.Join(c.DataDir, name)
}
