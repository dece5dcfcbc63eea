package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
)

// both are a port of the node, over TCP and UDP, that leads to port 8080.
func both(at string, port int) []api.HostPort {
	a := netip.MustParseAddr(at)
	return []api.HostPort{{Protocol: corev1.ProtocolTCP, Address: a, Port: uint16(port), Container: 8080}, {Protocol: corev1.ProtocolUDP, Address: a, Port: uint16(port), Container: 8080}}
}

func (x *node) publish(p pod, ports []api.HostPort) {
	x.t.Helper()
	if err := x.driver.Publish(x.t.Context(), p.name, ports); err != nil {
		x.t.Fatal(err)
	}
}

// TestPortsOfTheNode lead to one pod for everybody but other projects, and for as long as it is there.
func TestPortsOfTheNode(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "11")
	a, b, other := x.pod("shop", "a"), x.pod("shop", "b"), x.pod("bank", "other")
	n := int(x.driver.ServiceNetwork.Addr().As4()[1]) // all tests share the node's ports
	port := 22000 + n
	outside := x.outside(fmt.Sprintf("192.168.%d", 100+n))
	own := fmt.Sprintf("192.168.%d.1", 100+n)
	at, one := fmt.Sprintf("%s:%d", own, port), fmt.Sprintf("%s:%d", own, port+100)
	x.publish(a, append(both("0.0.0.0", port), both(own, port+100)...))
	asked := func(when, want string) {
		t.Helper()
		for _, network := range []string{"tcp", "udp"} {
			for who, f := range map[string]func(string, string) (string, error){"outside": outside.ask, "its project": b.ask, "itself": a.ask, "the node": ask} {
				for _, address := range []string{at, one} {
					eventually(t, fmt.Sprintf("%s: %s from %s to %s", when, network, who, address), tells(func() (string, error) { return f(network, address) }, want))
				}
			}
		}
		for _, address := range []string{at, one} {
			eventually(t, when+": another project at "+address, isRefused(func() (string, error) { return other.ask("tcp", address) }))
		}
	}
	asked("at first", "a")
	if _, err := outside.ask("tcp", fmt.Sprintf("%s:%d", b.address, port)); err == nil {
		t.Error("another address has the port, too")
	}
	// A port at one address is at no other one.
	if got, err := b.ask("tcp", fmt.Sprintf("%s:%d", x.driver.gateway(), port+100)); err == nil {
		t.Errorf("%q by the gateway", got)
	}
	program := iptablesHere()
	for _, harm := range []string{program + " -t nat -F", map[bool]string{true: "nft flush table ip " + x.driver.Name, false: program + " -t nat -F"}[os.Getenv(filterEnv) == ""]} {
		words := strings.Fields(harm)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", harm, err, out)
		}
		asked("after "+harm, "a")
	}
	// Another process goes on where this one ended, without a gap.
	o := x.driver.Options
	x.stop()
	if got, err := outside.ask("tcp", at); err != nil || got != "a" {
		t.Errorf("while no process runs: %q, %v", got, err)
	}
	x.start(o)
	if got, err := outside.ask("tcp", at); err != nil || got != "a" {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	x.publish(a, append(both("0.0.0.0", port), both(own, port+100)...))
	// A client over UDP that goes on sending gets the next pod that has the port.
	var conn net.Conn
	if err := outside.Do(func() (err error) { conn, err = net.Dial("udp", at); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := func() (string, error) { return speak(conn) }
	eventually(t, "the first pod", tells(said, "a"))
	if err := x.driver.Detach(t.Context(), a.name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody", isRefused(func() (string, error) { return outside.ask("tcp", at) }))
	x.publish(b, append(both("0.0.0.0", port), both(own, port+100)...))
	eventually(t, "the next pod", tells(said, "b"))
	eventually(t, "the next pod over TCP", tells(func() (string, error) { return outside.ask("tcp", at) }, "b"))
}

func TestPortsOfTheNodeThroughIPTables(t *testing.T) {
	ns := networktest.New(t)
	if err := ns.Do(func() error {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestPortsOfTheNode$", "-test.timeout", "5m")
		cmd.Env = append(os.Environ(), filterEnv+"="+legacyProgram)
		out, err := cmd.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "PASS") {
			err = fmt.Errorf("nothing was tried")
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestNobodysPortIsTaken: what other pods have, and what runs on the node, goes on.
func TestNobodysPortIsTaken(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	n := int(x.driver.ServiceNetwork.Addr().As4()[1])
	port := 22200 + n
	router := fmt.Sprintf("127.0.0.1:%d", port+200)
	if err := tell(t, router, func(string) string { return "router" }); err != nil {
		t.Fatal(err)
	}
	x.publish(a, both("0.0.0.0", port))
	for name, ports := range map[string][]api.HostPort{
		"another pod's":                both("0.0.0.0", port),
		"another pod's at one address": both(x.driver.gateway().String(), port)[1:],
		"the node's":                   both("0.0.0.0", port+200),
		"the node's over UDP":          both("0.0.0.0", port+200)[1:],
		"at an address of no node":     both("203.0.113.9", port+1),
	} {
		if err := x.driver.Publish(t.Context(), b.name, ports); err == nil || !strings.Contains(err.Error(), fmt.Sprint(ports[0].Port)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := ask("tcp", router); err != nil || got != "router" {
		t.Errorf("the node's own: %q, %v", got, err)
	}
	// What was refused left nothing behind: the rest of it is free.
	x.publish(b, both("0.0.0.0", port+1))
	if _, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", port+1)); err == nil {
		t.Error("something else can listen where a pod has the port")
	}
	if err := x.driver.Detach(t.Context(), b.name); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", port+1))
	if err != nil {
		t.Fatalf("the port is not free after the pod: %v", err)
	}
	l.Close()
	if err := x.driver.Publish(t.Context(), types.NamespacedName{Namespace: "shop", Name: "nobody"}, both("0.0.0.0", port+1)); err == nil {
		t.Error("a pod that is not attached has a port")
	}
}

// TestAPodInTheNetworkOfItsNodeIsReached by the pods there, at what it says that it listens at, while it is there.
func TestAPodInTheNetworkOfItsNodeIsReached(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a := x.pod("shop", "a")
	port := 22600 + int(x.driver.ServiceNetwork.Addr().As4()[1])
	at, secret := fmt.Sprintf("%s:%d", x.driver.gateway(), port), fmt.Sprintf("%s:%d", x.driver.gateway(), port+100)
	for address, what := range map[string]string{at: "agent", secret: "secret"} {
		if err := tell(t, address, func(string) string { return what }); err != nil {
			t.Fatal(err)
		}
	}
	agent := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "agent"}, Spec: corev1.PodSpec{
		NodeName: "host-a", HostNetwork: true,
		Containers: []corev1.Container{{Name: "main", Image: "agent", Ports: []corev1.ContainerPort{{ContainerPort: int32(port)}}}},
	}}
	elsewhere := agent.DeepCopy()
	elsewhere.Name, elsewhere.Spec.NodeName, elsewhere.Spec.Containers[0].Ports[0].ContainerPort = "elsewhere", "host-b", int32(port+100)
	x.create(elsewhere)
	reached := func() (string, error) { return a.ask("tcp", at) }
	eventually(t, "nobody before the pod", isRefused(reached))
	x.create(agent)
	eventually(t, "the pod", tells(reached, "agent"))
	if got, err := a.ask("tcp", secret); err == nil {
		t.Errorf("%q, by what a pod of another node listens at", got)
	}
	if err := x.client.Delete(t.Context(), agent, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody after the pod", isRefused(reached))
}
