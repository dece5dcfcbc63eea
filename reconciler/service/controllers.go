package service

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// DefaultNetwork is where addresses of services come from.
var DefaultNetwork = netip.MustParsePrefix("172.30.0.0/16")

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what the controllers need.
type Deps struct {
	Client client.Client
	Events Recorder
	// Log gets warnings; default: none are kept.
	Log *slog.Logger
	// Network is the range of the services' addresses; default DefaultNetwork. Its first
	// and last address are never given.
	Network netip.Prefix
	// External is where spec.externalIPs may be from; default nowhere, as OpenShift's
	// externalIPNetworkCIDRs.
	External []Range
	// Ingress is where services of type LoadBalancer get an address from; default: they
	// stay without.
	Ingress netip.Prefix
	// Workers that make Endpoints side by side; default 4.
	Workers int
}

// Controllers are the two controllers of this package.
func Controllers(d Deps) []loop.Controller {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if !d.Network.IsValid() {
		d.Network = DefaultNetwork
	}
	if d.Workers == 0 {
		d.Workers = 4
	}
	addresses := addresses{Deps: d, book: newBook()}
	e := &endpoints{Deps: d, selectors: newSelectors()}
	return []loop.Controller{
		{
			Name:    "service-address",
			Watches: []loop.Watch{{List: &corev1.ServiceList{}, Observer: addresses.book}},
			// One worker: within one process two services never choose at the same time.
			Workers:   1,
			Reconcile: settled(addresses.reconcile),
		},
		{
			Name: "endpoints",
			Watches: []loop.Watch{
				{List: &corev1.ServiceList{}},
				{List: &corev1.PodList{}, Keys: e.selectors.of},
				{List: &corev1.EndpointsList{}},
			},
			Workers:   d.Workers,
			Reconcile: settled(e.reconcile),
		},
	}
}

type reconcile = func(context.Context, loop.Key) (loop.Result, error)

// settled looks again soon where another writer was faster: that is no error.
func settled(f reconcile) reconcile {
	return func(ctx context.Context, key loop.Key) (loop.Result, error) {
		res, err := f(ctx, key)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			return loop.Result{After: 10 * time.Millisecond}, nil
		}
		return res, err
	}
}
