package server

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
)

// openTarget connects to the cluster of a kubeconfig file, whose current context says which
// and as whom. The API need not answer yet.
func openTarget(kubeconfig string) (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--target: %w", err)
	}
	// Applies come in bursts; the server has its own means against too many.
	config.QPS = -1
	config.UserAgent = "slipway"
	// A scheme of its own: OpenShift's types in the global one would change what is applied.
	c, err := client.New(config, client.Options{Scheme: api.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("--target %s: %w", kubeconfig, err)
	}
	return c, nil
}
