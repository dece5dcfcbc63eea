package runtime

import (
	"context"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
)

// Network connects sandboxes.
type Network interface {
	// Attach gives the pod an address in the network namespace of the process sandboxPID.
	// Called again for the same process, as it is after the agent's restart, it returns
	// the same address and interrupts nothing; for another process, that of a new sandbox,
	// the pod's address moves there. An invalid address: the pod has none.
	Attach(ctx context.Context, pod types.NamespacedName, sandboxPID int) (netip.Addr, error)
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

// Detach implements [Network].
func (NoNetwork) Detach(context.Context, types.NamespacedName) error { return nil }

// Resolver implements [Network].
func (NoNetwork) Resolver() netip.Addr { return netip.Addr{} }
