package rules

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { networktest.Main(m) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func frame(table string) Frame {
	return Frame{Table: table, Links: table + "-", Bridge: table + "0",
		Cluster: netip.MustParsePrefix("10.128.0.0/14"), Subnet: netip.MustParsePrefix("10.128.0.0/23"),
		Service: netip.MustParsePrefix("172.30.0.0/16"), Gateway: netip.MustParseAddr("10.128.0.1")}
}

func TestFrameText(t *testing.T) {
	golden(t, "frame", frame("slipway").String())
	flat := frame("slipway")
	flat.Flat = true
	golden(t, "frame-flat", flat.String())
}

func TestRuleTextsFitIntoComments(t *testing.T) {
	all := frame("slipway").chains()
	for _, name := range []string{"spread-10000", "nodespread-10000", "sticky-10000-86400", "nodesticky-10000-86400", "farspread-10000", "farsticky-10000-86400"} {
		c, err := spreading(name)
		if err != nil {
			t.Error(err)
		}
		all = append(all, c)
	}
	for _, name := range []string{"spread-0", "spread-2-3", "sticky-2", "sticky-2-0", "strange-2", "spread-2x"} {
		if _, err := spreading(name); err == nil {
			t.Errorf("chain %s was taken", name)
		}
	}
	for _, c := range all {
		for _, r := range c.rules {
			if len(r.text) > 120 {
				t.Errorf("chain %s: the rule %q is longer than nft's comments can be", c.name, r.text)
			}
		}
	}
}

func service(ns, name, ip string, ports ...corev1.ServicePort) corev1.Service {
	return corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
}

func endpointsOf(ns, name string, ips []string, ports ...corev1.EndpointPort) corev1.Endpoints {
	e := corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	var addresses []corev1.EndpointAddress
	for _, ip := range ips {
		node := "host-a"
		if strings.HasPrefix(ip, "10.128.2.") {
			node = "host-b"
		}
		addresses = append(addresses, corev1.EndpointAddress{IP: ip, NodeName: &node})
	}
	e.Subsets = []corev1.EndpointSubset{{Addresses: addresses, Ports: ports}}
	return e
}

func world() ([]corev1.Service, []corev1.Endpoints, []Pod) {
	sticky := service("shop", "sticky", "172.30.0.3", corev1.ServicePort{Port: 80})
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	outward := service("shop", "outward", "172.30.0.4", corev1.ServicePort{Port: 443, Protocol: "TCP"})
	outward.Annotations = map[string]string{api.ExternalIPsAnnotation: "192.0.2.40"}
	published := service("shop", "published", "172.30.0.5", corev1.ServicePort{Name: "a", Port: 80, NodePort: 30080}, corev1.ServicePort{Name: "b", Port: 81, NodePort: 30081})
	published.Spec.SessionAffinity, published.Spec.SessionAffinityConfig = corev1.ServiceAffinityClientIP, &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](60)}}
	published.Annotations = map[string]string{api.NodePortsAnnotation: "30080"} // the other port is somebody else's
	local := service("shop", "local", "172.30.0.6", corev1.ServicePort{Port: 80, NodePort: 30090})
	local.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	local.Annotations = map[string]string{api.NodePortsAnnotation: "30090", api.ExternalIPsAnnotation: "192.0.2.41,192.0.2.42"}
	gone := service("shop", "gone", "172.30.0.7", corev1.ServicePort{Port: 80, NodePort: 30091})
	gone.Spec.ExternalIPs = []string{"192.0.2.50"} // nobody allowed it
	gone.Annotations = map[string]string{api.NodePortsAnnotation: "30091", api.ExternalIPsAnnotation: "192.0.2.43"}
	inside := corev1.ServiceInternalTrafficPolicyLocal
	gone.Spec.InternalTrafficPolicy = &inside
	services := []corev1.Service{
		service("shop", "web", "172.30.0.1", corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "dns", Port: 53, Protocol: "UDP"}),
		service("shop", "empty", "172.30.0.2", corev1.ServicePort{Port: 80}),
		service("shop", "headless", "None", corev1.ServicePort{Port: 80}),
		sticky, outward, published, local, gone,
	}
	endpoints := []corev1.Endpoints{
		endpointsOf("shop", "web", []string{"10.128.0.3", "10.128.0.2", "10.128.0.2"},
			corev1.EndpointPort{Name: "http", Port: 8080}, corev1.EndpointPort{Name: "dns", Port: 5353, Protocol: "UDP"}),
		endpointsOf("shop", "headless", []string{"10.128.0.2"}, corev1.EndpointPort{Port: 80}),
		endpointsOf("shop", "sticky", []string{"10.128.0.2", "10.128.0.3"}, corev1.EndpointPort{Port: 8080}),
		endpointsOf("shop", "outward", []string{"10.128.0.2"}, corev1.EndpointPort{Port: 8443}),
		endpointsOf("shop", "published", []string{"10.128.0.2", "10.128.2.2"}, corev1.EndpointPort{Name: "a", Port: 8080}, corev1.EndpointPort{Name: "b", Port: 8081}),
		endpointsOf("shop", "local", []string{"10.128.0.2", "10.128.2.2"}, corev1.EndpointPort{Port: 8080}),
		endpointsOf("shop", "gone", []string{"10.128.2.2"}, corev1.EndpointPort{Port: 8080}),
		endpointsOf("shop", "nobodys", []string{"10.128.0.2"}, corev1.EndpointPort{Port: 80}),
	}
	pod := func(ns, name, ip string, netid uint32) Pod {
		a, _ := netip.ParseAddr(ip)
		return Pod{Name: types.NamespacedName{Namespace: ns, Name: name}, Address: a, Netid: netid}
	}
	return services, endpoints, []Pod{pod("shop", "a", "10.128.0.2", 10), pod("shop", "b", "10.128.0.3", 10),
		pod("default", "router", "10.128.0.4", 0), pod("shop", "starting", "", 10)}
}

func TestCompile(t *testing.T) {
	services, endpoints, pods := world()
	golden(t, "compile", Compile("host-a", services, endpoints, pods).String())
}

func TestEveryElementSurvivesTheKernelsForm(t *testing.T) {
	services, endpoints, pods := world()
	for e, v := range Compile("host-a", services, endpoints, pods) {
		b, err := encode(e.Key, layouts[e.Set].key)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(b, layouts[e.Set].key); err != nil || back != e.Key {
			t.Errorf("%s %q came back as %q, %v", e.Set, e.Key, back, err)
		}
		if _, err := elementOf(e, v); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Element{{Services, "172.30.0.1 . tcp"}, {Services, "x . tcp . 80"}, {Services, "172.30.0.1 . quic . 80"}, {Services, "172.30.0.1 . tcp . 70000"}, {"other", "1"}} {
		if _, err := elementOf(bad, ""); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestTableOwners(t *testing.T) {
	tab := NewTable()
	e := Element{HostPorts, "80"}
	n := Element{Netids, "10.128.0.2"}
	tab.Put("b", Elements{e: "", n: "11"})
	tab.Put("a", Elements{n: "10"})
	if got := tab.Elements()[n]; got != "10" {
		t.Errorf("of two owners the first decides: got %q", got)
	}
	if got := tab.take(); len(got) != 2 {
		t.Errorf("two elements changed, told were %v", got)
	}
	tab.Put("b", Elements{e: "", n: "11"})
	if got := tab.take(); len(got) != 0 {
		t.Errorf("nothing changed, told were %v", got)
	}
	tab.Put("a", nil)
	if got := tab.take(); len(got) != 1 || got[n] != (change{"11", true}) {
		t.Errorf("after the first owner left: %v", got)
	}
	tab.Put("b", nil)
	if got := tab.take(); got[n].wanted || got[e].wanted || len(tab.Elements()) != 0 {
		t.Errorf("after the last owner left: %v", got)
	}
}
