package service_test

import (
	"net/netip"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/reconciler/service"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/statetest"
)

func start(t *testing.T, c *state.Client, d service.Deps) {
	t.Helper()
	statetest.Run(t, c, service.Controllers(d)...)
}

func read(t *testing.T, c client.Client, name string) *corev1.Service {
	t.Helper()
	var s corev1.Service
	statetest.Must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &s))
	return &s
}

func nodePorts(name string, ports ...int32) *corev1.Service {
	s := svc(name, "")
	s.Spec.Type = corev1.ServiceTypeNodePort
	s.Spec.Ports = nil
	for i, p := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "p" + strconv.Itoa(i), Port: int32(80 + i), NodePort: p, Protocol: corev1.ProtocolTCP})
	}
	return s
}

func TestNodePorts(t *testing.T) {
	t.Parallel()
	c, ctx, ev := statetest.New(t), t.Context(), &events{}
	first := nodePorts("first", 30080, 0)
	first.Spec.Ports = append(first.Spec.Ports, corev1.ServicePort{Name: "udp", Port: 81, Protocol: corev1.ProtocolUDP})
	statetest.Must(t, c.Create(ctx, first))
	statetest.Must(t, c.Create(ctx, nodePorts("second", 30080)))
	start(t, c, service.Deps{Client: c, Events: ev, Network: netip.MustParsePrefix("10.82.0.0/24")})
	noted := func(name string) bool {
		s := read(t, c, name)
		return s.Annotations[api.NodePortsAnnotation] != "" && s.Spec.Ports[0].NodePort != 0
	}
	statetest.Eventually(t, "both have node ports", func() bool { return noted("first") && noted("second") })
	statetest.Eventually(t, "the younger one has another", func() bool { return read(t, c, "second").Spec.Ports[0].NodePort != 30080 })
	one := read(t, c, "first")
	drawn := one.Spec.Ports[1].NodePort
	if one.Spec.Ports[0].NodePort != 30080 || drawn < 30000 || drawn > 32767 || drawn == 30080 {
		t.Errorf("the older one has %+v", one.Spec.Ports)
	}
	if one.Spec.Ports[2].NodePort != drawn {
		t.Errorf("TCP and UDP of one port have different node ports: %+v", one.Spec.Ports)
	}
	if want := "30080," + strconv.Itoa(int(drawn)); one.Annotations[api.NodePortsAnnotation] != want {
		t.Errorf("noted is %q, want %q", one.Annotations[api.NodePortsAnnotation], want)
	}
	if !ev.has("PortInUse") {
		t.Error("the conflict is not reported")
	}
	one.Spec.Type = corev1.ServiceTypeClusterIP
	statetest.Must(t, c.Update(ctx, one))
	statetest.Eventually(t, "a service of another type has no node ports", func() bool {
		s := read(t, c, "first")
		return s.Annotations[api.NodePortsAnnotation] == "" && s.Spec.Ports[0].NodePort == 0
	})
}

// A port that leaves git leaves the service, although its node port was never git's.
func TestAPortThatLeavesGitLeaves(t *testing.T) {
	t.Parallel()
	c, ctx := statetest.New(t), t.Context()
	start(t, c, service.Deps{Client: c, Events: &events{}, Network: netip.MustParsePrefix("10.83.0.0/24")})
	apply := func(ports ...any) {
		t.Helper()
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service",
			"metadata": map[string]any{"name": "web", "namespace": "shop"},
			"spec":     map[string]any{"type": "NodePort", "selector": map[string]any{"app": "web"}, "ports": ports}}}
		statetest.Must(t, c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("git"), client.ForceOwnership))
	}
	port := func(name string, n int64) any {
		return map[string]any{"name": name, "port": n, "targetPort": n, "protocol": "TCP"}
	}
	apply(port("a", 80), port("b", 81))
	statetest.Eventually(t, "both ports are noted", func() bool { return len(read(t, c, "web").Annotations[api.NodePortsAnnotation]) == len("30000,30001") })
	kept := read(t, c, "web").Spec.Ports[0].NodePort
	apply(port("a", 80))
	statetest.Eventually(t, "one port is noted", func() bool { return len(read(t, c, "web").Annotations[api.NodePortsAnnotation]) == len("30000") })
	if s := read(t, c, "web"); len(s.Spec.Ports) != 1 || s.Spec.Ports[0].NodePort != kept {
		t.Errorf("got %+v, want the port that stayed at %d", s.Spec.Ports, kept)
	}
}

func TestOuterAddresses(t *testing.T) {
	t.Parallel()
	c, ctx, ev := statetest.New(t), t.Context(), &events{}
	ranges, err := service.ParseRanges([]string{"192.0.2.0/24", "!192.0.2.128/25"})
	statetest.Must(t, err)
	if _, err := service.ParseRanges([]string{"192.0.2.0"}); err == nil {
		t.Error("an address was taken for a network")
	}
	out := svc("out", "")
	out.Spec.ExternalIPs = []string{"192.0.2.1", "192.0.2.200", "198.51.100.1"}
	statetest.Must(t, c.Create(ctx, out))
	lb := svc("lb", "")
	lb.Spec.Type = corev1.ServiceTypeLoadBalancer
	statetest.Must(t, c.Create(ctx, lb))
	start(t, c, service.Deps{Client: c, Events: ev, Network: netip.MustParsePrefix("10.84.0.0/24"), External: ranges, Ingress: netip.MustParsePrefix("203.0.113.0/29")})
	statetest.Eventually(t, "what is allowed is noted", func() bool { return read(t, c, "out").Annotations[api.ExternalIPsAnnotation] == "192.0.2.1" })
	statetest.Eventually(t, "what is not is reported", func() bool { return ev.has("ExternalIPNotAllowed") })
	statetest.Eventually(t, "the load balancer has its address", func() bool {
		s := read(t, c, "lb")
		return len(s.Status.LoadBalancer.Ingress) == 1 && s.Annotations[api.ExternalIPsAnnotation] == s.Status.LoadBalancer.Ingress[0].IP && s.Spec.Ports[0].NodePort != 0
	})
	s := read(t, c, "lb")
	s.Spec.Type = corev1.ServiceTypeClusterIP
	statetest.Must(t, c.Update(ctx, s))
	statetest.Eventually(t, "the address goes with the type", func() bool {
		s := read(t, c, "lb")
		return len(s.Status.LoadBalancer.Ingress) == 0 && s.Annotations[api.ExternalIPsAnnotation] == ""
	})
}

func TestALoadBalancerWithoutANetworkWaits(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	lb := svc("lb", "")
	lb.Spec.Type = corev1.ServiceTypeLoadBalancer
	statetest.Must(t, c.Create(t.Context(), lb))
	start(t, c, service.Deps{Client: c, Events: &events{}, Network: netip.MustParsePrefix("10.85.0.0/24")})
	statetest.Eventually(t, "its node port", func() bool { return read(t, c, "lb").Annotations[api.NodePortsAnnotation] != "" })
	if s := read(t, c, "lb"); len(s.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("it got %+v from nowhere", s.Status.LoadBalancer)
	}
}
