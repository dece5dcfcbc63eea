package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

type events struct {
	mu      sync.Mutex
	reasons []string
}

func (e *events) Event(_ client.Object, _, reason, _ string, _ ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons = append(e.reasons, reason)
}

func (e *events) has(reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.reasons {
		if r == reason {
			return true
		}
	}
	return false
}

// run runs n servers side by side until the test ends.
func run(t *testing.T, c *state.Client, ev *events, network string, n int) {
	t.Helper()
	for range n {
		statetest.Run(t, c, service.Controllers(service.Deps{Client: c, Events: ev, Network: netip.MustParsePrefix(network)})...)
	}
}

func svc(name, ip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}}},
	}
}

func TestServersSideBySideNeverShareAnAddress(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	// A network that is nearly full makes servers want the same addresses.
	run(t, c, &events{}, "10.77.0.0/27", 3)
	const n = 28
	for i := range n {
		statetest.Must(t, c.Create(ctx, svc(fmt.Sprintf("s%d", i), "")))
	}
	statetest.Must(t, c.Create(ctx, svc("headless", corev1.ClusterIPNone)))
	statetest.Eventually(t, "every service has an address of its own", func() bool {
		var list corev1.ServiceList
		statetest.Must(t, c.List(ctx, &list))
		seen := map[string]bool{} // addresses that are known to be one service's alone
		for _, s := range list.Items {
			if s.Spec.ClusterIP != "" && s.Annotations["slipway.dev/cluster-ip"] == s.Spec.ClusterIP {
				seen[s.Spec.ClusterIP] = true
			}
		}
		return len(seen) == n
	})
}

// counting counts the lists of services that a controller reads.
type counting struct {
	client.Client
	lists atomic.Int64
}

func (c *counting) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*corev1.ServiceList); ok {
		c.lists.Add(1)
	}
	return c.Client.List(ctx, list, opts...)
}

// What it takes to give a service its address does not grow with the services that there are.
func TestNoServiceIsListedToGiveAnotherItsAddress(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	counted := &counting{Client: c}
	const n = 50
	for i := range n {
		statetest.Must(t, c.Create(ctx, svc(fmt.Sprintf("s%d", i), "")))
	}
	loopCtx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		loop.Run(loopCtx, c, slog.New(slog.NewTextHandler(t.Output(), nil)), service.Controllers(service.Deps{Client: counted, Events: &events{}, Network: netip.MustParsePrefix("10.81.0.0/24")})...)
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	statetest.Eventually(t, "every service has an address", func() bool {
		var list corev1.ServiceList
		statetest.Must(t, c.List(ctx, &list))
		done := 0
		for _, s := range list.Items {
			if s.Spec.ClusterIP != "" && s.Annotations["slipway.dev/cluster-ip"] == s.Spec.ClusterIP {
				done++
			}
		}
		return done == n
	})
	if lists := counted.lists.Load(); lists > 0 {
		t.Errorf("services were listed %d times", lists)
	}
}

func TestAskedAddressesAreRespectedButNotTakenFromOthers(t *testing.T) {
	t.Parallel()
	c, ctx, ev := statetest.New(t), t.Context(), &events{}
	statetest.Must(t, c.Create(ctx, svc("a", "10.78.0.5")))
	statetest.Must(t, c.Create(ctx, svc("b", "10.78.0.5")))
	statetest.Must(t, c.Create(ctx, svc("far", "10.1.2.3")))
	run(t, c, ev, "10.78.0.0/24", 1)
	statetest.Eventually(t, "the younger one gets another", func() bool {
		var b corev1.Service
		statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "b"}, &b))
		return b.Spec.ClusterIP != "" && b.Spec.ClusterIP != "10.78.0.5"
	})
	var a corev1.Service
	statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "a"}, &a))
	if a.Spec.ClusterIP != "10.78.0.5" {
		t.Errorf("the older one has %s now", a.Spec.ClusterIP)
	}
	statetest.Eventually(t, "both mistakes are reported", func() bool { return ev.has("AddressInUse") && ev.has("AddressOutOfRange") })
}

func TestEndpointsFollowPods(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	run(t, c, &events{}, "10.79.0.0/24", 1)
	statetest.Must(t, c.Create(ctx, svc("web", "")))
	key := client.ObjectKey{Namespace: "shop", Name: "web"}
	ready := func() (n int) {
		var ep corev1.Endpoints
		if err := c.Get(ctx, key, &ep); apierrors.IsNotFound(err) {
			return -1
		} else if err != nil {
			t.Fatal(err)
		}
		for _, s := range ep.Subsets {
			n += len(s.Addresses)
		}
		return n
	}
	statetest.Eventually(t, "empty endpoints", func() bool { return ready() == 0 })
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "busybox"}}},
	}
	statetest.Must(t, c.Create(ctx, p))
	p.Status = corev1.PodStatus{PodIP: "10.128.0.2", Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	statetest.Must(t, c.Status().Update(ctx, p))
	statetest.Eventually(t, "the ready pod", func() bool { return ready() == 1 })
	statetest.Must(t, c.Delete(ctx, p))
	statetest.Eventually(t, "the deleting pod leaves", func() bool { return ready() == 0 })
	statetest.Must(t, c.Get(ctx, client.ObjectKeyFromObject(p), p)) // its node has not let it go yet
	statetest.Must(t, c.Delete(ctx, svc("web", "")))
	statetest.Eventually(t, "the endpoints go with their service", func() bool { return ready() == -1 })
}

func TestEndpointsWithoutSelectorStay(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	run(t, c, &events{}, "10.80.0.0/24", 1)
	s := svc("db", "")
	s.Spec.Selector = nil
	statetest.Must(t, c.Create(ctx, s))
	statetest.Must(t, c.Create(ctx, &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop"}, Subsets: []corev1.EndpointSubset{
		{Addresses: []corev1.EndpointAddress{{IP: "192.0.2.7"}}, Ports: []corev1.EndpointPort{{Port: 5432, Protocol: corev1.ProtocolTCP}}}}}))
	statetest.Must(t, c.Create(ctx, svc("mark", "")))
	statetest.Eventually(t, "both services were looked at", func() bool {
		var ep corev1.Endpoints
		return c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mark"}, &ep) == nil
	})
	var ep corev1.Endpoints
	statetest.Must(t, c.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "db"}, &ep))
	if len(ep.Subsets) != 1 || ep.Subsets[0].Addresses[0].IP != "192.0.2.7" {
		t.Errorf("got %+v", ep.Subsets)
	}
}
