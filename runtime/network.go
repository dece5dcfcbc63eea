package runtime

import (
	"context"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
)

// Network connects sandboxes.
type Network interface {
	// Attach gives the pod an address in the network namespace of the process sandboxPID.
	// Called again for the same process, as it is after the agent's restart, it returns
	// the same address and interrupts nothing; for another process, that of a new sandbox,
	// the pod's address moves there. An invalid address: the pod has none.
	Attach(ctx context.Context, pod types.NamespacedName, sandboxPID int) (netip.Addr, error)
	// Publish has ports of the node lead to a pod that is attached, until it is detached. Called again it changes
	// nothing. A port that is somebody else's is an error.
	Publish(ctx context.Context, pod types.NamespacedName, ports []api.HostPort) error
	// Detach takes the pod's address back. It succeeds if there is none.
	Detach(ctx context.Context, pod types.NamespacedName) error
	// Resolver is the address of the name server for the pods; invalid: there is none.
	Resolver() netip.Addr
}

// NoNetwork gives pods the loopback interface only. They have no address, and their
// probes are made from inside of their network namespace.
type NoNetwork struct{}

// Attach implements [Network].
func (NoNetwork) Attach(context.Context, types.NamespacedName, int) (netip.Addr, error) {
	return netip.Addr{}, nil
}

// Publish implements [Network].
func (NoNetwork) Publish(_ context.Context, pod types.NamespacedName, ports []api.HostPort) error {
	return fmt.Errorf("pod %s: there is no network for its port %s of the node", pod, ports[0])
}

// Detach implements [Network].
func (NoNetwork) Detach(context.Context, types.NamespacedName) error { return nil }

// Resolver implements [Network].
func (NoNetwork) Resolver() netip.Addr { return netip.Addr{} }
