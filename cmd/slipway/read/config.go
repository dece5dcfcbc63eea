package read

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
)

// configFlag adds --config, a kubeconfig file that says where the server is.
func configFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().Var(&configFile{address: address}, "config", "kubeconfig file that names the server, such as slipway lab up writes (default: what --server says)")
}

// configFile takes the server of the file's current context.
type configFile struct {
	file    string
	address *string
}

func (c *configFile) String() string { return c.file }

// Type is shown in the usage.
func (c *configFile) Type() string { return "file" }

// Set reads the file. Slipway's API asks nobody who he is: users and certificates in it are not used.
func (c *configFile) Set(file string) error {
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return err
	}
	at := config.Contexts[config.CurrentContext]
	if at == nil || config.Clusters[at.Cluster] == nil || config.Clusters[at.Cluster].Server == "" {
		return fmt.Errorf("%s: current-context %q names no cluster with a server", file, config.CurrentContext)
	}
	c.file, *c.address = file, config.Clusters[at.Cluster].Server
	return nil
}
