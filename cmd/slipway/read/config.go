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
	token   string // file of the user's token; empty: there is none
	address *string
}

func (c *configFile) String() string { return c.file }

// Type is shown in the usage.
func (c *configFile) Type() string { return "file" }

// Set reads the file. Slipway's API asks nobody who he is, but for who runs commands in pods: nothing of users but
// their token's file is used.
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
	if user := config.AuthInfos[at.AuthInfo]; user != nil {
		c.token = user.TokenFile
	}
	return nil
}

// TokenFile is the file of the token that a command's --config names; empty: it names none.
func TokenFile(cmd *cobra.Command) string {
	if c, ok := cmd.Flag("config").Value.(*configFile); ok {
		return c.token
	}
	return ""
}
