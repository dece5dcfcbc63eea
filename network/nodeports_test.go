package network

import (
	"fmt"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
)

// stranger is a machine of the underlay that is no host of the cluster.
func (c *cluster) stranger() pod {
	c.t.Helper()
	c.hosts++
	m := &machine{Namespace: networktest.New(c.t), t: c.t, name: "stranger", address: "192.0.2.253"}
	c.plug(m, 1500)
	m.run("iptables -P INPUT ACCEPT")
	return pod{Namespace: m.Namespace}
}

// Every node opens the port for whoever asks from outside, wherever the service's pods are.
// Pods ask for it as pods, whichever node's address they use: a project stays by itself.
func TestNodePortsAcrossHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	live := c.view("/a")
	c.create(live, netOf("shop", "10"), netOf("bank", "11"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"))
	h1, h2, outside := c.host("h1", "/a", 1500), c.host("h2", "/a", 1500), c.stranger()
	a, b, thief := h1.pod("shop", "a"), h2.pod("shop", "b"), h1.pod("bank", "thief")
	c.create(live, a.record("h1"), b.record("h2"), thief.record("h1"))
	ports := []corev1.ServicePort{{Name: "t", Port: 80, NodePort: 30080, Protocol: "TCP"}, {Name: "u", Port: 80, NodePort: 30080, Protocol: "UDP"}}
	local := []corev1.ServicePort{{Name: "t", Port: 80, NodePort: 30081, Protocol: "TCP"}, {Name: "u", Port: 80, NodePort: 30081, Protocol: "UDP"}}
	endpoints := subset(a, b)
	for i, node := range []string{"h1", "h2"} {
		endpoints[0].Addresses[i].NodeName = &node
	}
	c.create(live,
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{api.NodePortsAnnotation: "30080"}},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: "172.30.0.1", Ports: ports}},
		&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Subsets: endpoints},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "local", Annotations: map[string]string{api.NodePortsAnnotation: "30081"}},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: "172.30.0.2", Ports: local, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal}},
		&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "local"}, Subsets: endpoints})
	h1.run("iptables -A INPUT -p udp -m conntrack --ctstate ESTABLISHED -j ACCEPT")
	// What a host asks itself; it speaks for no pod.
	own := func(m *machine) func(network, at string) (string, error) {
		return func(network, at string) (got string, err error) {
			err = m.Do(func() (err error) { got, err = ask(network, at); return err })
			return got, err
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, at := range []string{h1.address, h2.address} {
			for who, f := range map[string]func(network, at string) (string, error){"outside": outside.ask, "a pod": a.ask, "a host": own(h1)} {
				eventually(t, who+" asks "+at+" over "+network, tells(func() (string, error) { return f(network, at+":30080") }, "a", "b"))
			}
			for _, port := range []string{":30080", ":30081"} {
				for range map[string]int{"tcp": 6, "udp": 1}[network] { // what UDP is refused is waited for
					if got, err := thief.ask(network, at+port); err == nil {
						t.Errorf("a pod of another project reached %s%s over %s: %q", at, port, network, got)
					}
				}
			}
		}
		eventually(t, "a policy of the asked node over "+network, tells(func() (string, error) { return outside.ask(network, h2.address+":30081") }, "b"))
		eventually(t, "pods ask for all endpoints over "+network, tells(func() (string, error) { return a.ask(network, h2.address+":30081") }, "a", "b"))
	}

	// Policies hold for who comes from outside by another node, too; not for nodes themselves.
	deny := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny"}}
	c.create(live, deny)
	for _, m := range []*machine{h1, h2} {
		eventually(t, "nobody gets in by "+m.name, func() error {
			for range 10 {
				if got, err := outside.ask("tcp", m.address+":30080"); err == nil {
					return fmt.Errorf("%s answers", got)
				}
			}
			return nil
		})
		eventually(t, m.name+" itself", tells(func() (string, error) { return own(m)("tcp", "172.30.0.1:80") }, "a", "b"))
	}
	first := networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.128.0.0/32"}}
	deny.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{first}}}
	if err := live.Update(t.Context(), deny); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a policy that lets in whom h1 speaks for", func() error {
		got := ""
		for range 20 {
			answer, err := outside.ask("tcp", h1.address+":30080")
			if err == nil {
				got = answer
			}
		}
		if got != "b" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// A client that sends to a node's port or to an outer address before there is a service, and
// never stops, is served when there is one.
func TestUDPFindsAServiceThatComes(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a := x.pod("shop", "a")
	x.service("shop", "names", 1, a)
	n := int(x.driver.ServiceNetwork.Addr().As4()[1]) // all tests share the node's ports
	network, port := fmt.Sprintf("192.168.%d", n), 32000+n
	client := x.outside(network)
	var conn net.Conn
	if err := client.Do(func() (err error) { conn, err = net.Dial("udp", fmt.Sprintf("%s.1:%d", network, port)); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Something takes it meanwhile, so that the kernel keeps the connection.
	taker, err := net.ListenPacket("udp", fmt.Sprintf("%s.1:%d", network, port))
	if err != nil {
		t.Fatal(err)
	}
	defer taker.Close()
	taken := make(chan error, 1)
	go func() {
		_, _, err := taker.ReadFrom(make([]byte, 100))
		taken <- err
	}()
	if _, err := conn.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	x.change("names", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Annotations = map[string]string{api.NodePortsAnnotation: fmt.Sprint(port)}
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(port)
		}
	})
	eventually(t, "the same socket", tells(func() (string, error) { return speak(conn) }, "a"))
}
