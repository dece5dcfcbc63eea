package subnet

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/state/loop"
)

// Recorder writes events for people.
type Recorder interface {
	Event(obj client.Object, eventtype, reason, format string, args ...any)
}

// Deps is what this package needs.
type Deps struct {
	Network
	Client client.Client
	// Events may be nil where there is nobody to tell.
	Events Recorder
	Log    *slog.Logger
}

// Controllers is the one controller of this package. It looks at one node after the
// other, so that each decision sees the one before.
func Controllers(d Deps) []loop.Controller {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return []loop.Controller{{
		Name:      "subnets",
		Watches:   []loop.Watch{{List: &corev1.NodeList{}}, {List: &networkv1.HostSubnetList{}}},
		Workers:   1,
		Reconcile: d.reconcile,
	}}
}

func (d Deps) reconcile(ctx context.Context, key loop.Key) (loop.Result, error) {
	var node corev1.Node
	err := d.Client.Get(ctx, key, &node)
	if client.IgnoreNotFound(err) != nil {
		return loop.Result{}, err
	}
	if err != nil {
		return loop.Result{}, d.free(ctx, key.Name)
	}
	_, err = d.tryClaim(ctx, key.Name, netip.Prefix{}, false)
	if err != nil && again(err) {
		return loop.Result{After: time.Duration(10+rand.IntN(100)) * time.Millisecond}, nil
	}
	if err != nil && d.Events != nil {
		d.Events.Event(&node, corev1.EventTypeWarning, "NoSubnet", "%v", err)
	}
	return loop.Result{}, err
}
