package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	networkv1 "github.com/openshift/api/network/v1"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func answers(t *testing.T, from pod, network, at, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s asks %s over %s", from.name, at, network), tells(func() (string, error) { return from.ask(network, at) }, want))
}

func TestPodsReachEachOtherAcrossHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1400)
	live := c.view("/a")
	c.create(live, netOf("shop", "10"), netOf("bank", "11"),
		hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"), hostSubnet("h3", "192.0.2.3", "10.128.4.0/23"))
	h1, h2, h3 := c.host("h1", "/a", 1400), c.host("h2", "/a", 1400), c.host("h3", "/a", 1400)
	a, b, far := h1.pod("shop", "a"), h2.pod("shop", "b"), h3.pod("shop", "far")
	thief, global := h2.pod("bank", "thief"), h3.pod("default", "global")
	for p, node := range map[*pod]string{&a: "h1", &b: "h2", &far: "h3", &thief: "h2", &global: "h3"} {
		c.create(live, p.record(node))
	}
	for _, network := range []string{"tcp", "udp"} {
		answers(t, a, network, b.at(), "b")
		answers(t, b, network, far.at(), "far")
		answers(t, far, network, a.at(), "a")
		answers(t, a, network, global.at(), "global")
		answers(t, global, network, thief.at(), "thief")
		for _, pair := range [][2]pod{{a, thief}, {thief, a}, {thief, far}, {far, thief}} {
			if got, err := pair[0].ask(network, pair[1].at()); err == nil {
				t.Errorf("%s reached %s over %s: %q", pair[0].name, pair[1].name, network, got)
			}
		}
	}
	// A service whose endpoints are on other hosts and on the client's own; the node itself too.
	c.create(live, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.1",
		Ports: []corev1.ServicePort{{Name: "t", Port: 80, Protocol: "TCP"}, {Name: "u", Port: 80, Protocol: "UDP"}}}},
		&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Subsets: subset(a, b, far)})
	for _, network := range []string{"tcp", "udp"} {
		eventually(t, "a service across hosts over "+network, tells(func() (string, error) { return a.ask(network, "172.30.0.1:80") }, "a", "b", "far"))
		eventually(t, "the node's own connections to it over "+network, tells(func() (got string, err error) {
			err = h1.Do(func() (err error) { got, err = ask(network, "172.30.0.1:80"); return err })
			return got, err
		}, "a", "b", "far"))
		if got, err := thief.ask(network, "172.30.0.1:80"); err == nil {
			t.Errorf("a pod of another project reached the service over %s: %q", network, got)
		}
	}
	// What fits goes through whole; the size was found, not assumed.
	if mtu := linkMTU(t, a); mtu != 1350 {
		t.Errorf("the pod's link takes %d bytes, want 1350: 1400 less VXLAN's 50", mtu)
	}
	for size, fits := range map[int]bool{1350 - 28: true, 1350 - 27: false} {
		err := a.Do(func() error { return sendWhole(b.at(), size) })
		if (err == nil) != fits {
			t.Errorf("a datagram of %d bytes: %v, want that it fits: %v", size, err, fits)
		}
	}
}

// sendWhole sends a datagram that may not be cut into pieces, and waits for its answer.
func sendWhole(to string, size int) error {
	conn, err := net.Dial("udp4", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	if err := errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}), err); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(make([]byte, size)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 100))
	return err
}

func linkMTU(t *testing.T, p pod) (mtu int) {
	t.Helper()
	if err := p.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err == nil {
			mtu = eth0.MTU
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return mtu
}

// TestNoPacketCrossesProjectsByOldKnowledge: each host takes an address of the other for one
// of its own pod's project, as after a pod has gone and another one got its address, while
// the servers could not be asked. Only what packets carry tells the truth.
func TestNoPacketCrossesProjectsByOldKnowledge(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	views := map[string]client.Client{}
	for _, v := range []string{"/one", "/two"} {
		views[v] = c.view(v)
		c.create(views[v], netOf("shop", "10"), netOf("bank", "11"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"))
	}
	h1, h2 := c.host("h1", "/one", 1500), c.host("h2", "/two", 1500)
	shop, bank, same := h1.pod("shop", "shop"), h2.pod("bank", "bank"), h2.pod("shop", "same")
	lie := func(p pod, project, node string) *corev1.Pod {
		p.name.Namespace = project
		return p.record(node)
	}
	c.create(views["/one"], lie(bank, "shop", "h2"), same.record("h2"))
	c.create(views["/two"], lie(shop, "bank", "h1"))
	// The one that is told the truth about is reached once the hosts have read all of it.
	c.create(views["/two"], &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other"}})
	heard := make(chan string, 100)
	if err := bank.Do(func() error {
		return tell(t, ":9999", func(from string) string { heard <- from; return "bank" })
	}); err != nil {
		t.Fatal(err)
	}
	// The rules of both hosts take the other's address for the same project.
	for m, address := range map[*machine]string{h1: bank.address.String(), h2: shop.address.String()} {
		eventually(t, m.name+" believes it", func() error {
			list, want := "nft list set ip h members", map[*machine]string{h1: address + " . 0x0000000a", h2: address + " . 0x0000000b"}[m]
			if os.Getenv(filterEnv) != "" {
				list, want = "iptables -S", map[*machine]string{h1: "-A H-into-10 -d " + address + "/32 -j RETURN", h2: "-A H-into-11 -d " + address + "/32 -j RETURN"}[m]
			}
			if out := m.run(list); !strings.Contains(out, want) {
				return fmt.Errorf("no %s in %s", want, out)
			}
			return nil
		})
	}
	for _, network := range []string{"tcp", "udp"} {
		for range 5 {
			if got, err := shop.ask(network, bank.address.String()+":9999"); err == nil {
				t.Errorf("a packet crossed projects over %s: %q", network, got)
			}
		}
	}
	select {
	case from := <-heard:
		t.Errorf("a packet arrived from %s", from)
	default:
	}
}

func TestOverlayIsRepairedAndFollowsNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	live := c.view("/a")
	second := hostSubnet("h2", "", "10.128.2.0/23")
	c.create(live, netOf("shop", "10"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), second)
	h1, h2 := c.host("h1", "/a", 1500), c.host("h2", "/a", 1500)
	a, b := h1.pod("shop", "a"), h2.pod("shop", "b")
	c.create(live, a.record("h1"), b.record("h2"))
	if mtu := linkMTU(t, a); mtu != 1500 {
		t.Errorf("alone, the pod's link takes %d bytes, want 1500", mtu)
	}
	second.HostIP = "192.0.2.2"
	if err := live.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	answers(t, a, "tcp", b.at(), "b")
	eventually(t, "the pod's link has room for the overlay", func() error {
		if mtu := linkMTU(t, a); mtu != 1450 {
			return fmt.Errorf("it takes %d bytes", mtu)
		}
		return nil
	})
	for _, harm := range []string{"ip link del h-vx", "ip link set h-vx down", "ip route flush dev h-vx", "ip neigh flush dev h-vx nud permanent",
		"bridge fdb del 0a:5a:0a:80:02:01 dev h-vx dst 192.0.2.2", "nft delete table ip h", "iptables -F H-INPUT", "ip link set h-vx mtu 1280"} {
		h1.run(harm)
		answers(t, b, "tcp", a.at(), "a")
	}
	eventually(t, "the link's size", func() error {
		if out := h1.run("ip link show h-vx"); !strings.Contains(out, "mtu 1450") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	// A stranger's entry is nobody's way, and the entries of a node that is gone go.
	h1.run("bridge fdb append 0a:5a:0a:80:06:01 dev h-vx dst 192.0.2.9 self permanent")
	if err := live.Delete(t.Context(), &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: "h2"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing leads to the node that is gone", func() error {
		if out := h1.run("ip route") + h1.run("ip neigh") + h1.run("bridge fdb") + h1.run("iptables -S") + h1.run("nft list set ip h peers"); strings.Contains(out, "10.128.2.") || strings.Contains(out, "h-vx") || strings.Contains(out, "192.0.2.2/") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// TestPodsCannotForgeTheOverlay: what a pod sends to a node's VXLAN port would arrive with
// its own node's address, which the other trusts.
func TestPodsCannotForgeTheOverlay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	live := c.view("/a")
	c.create(live, netOf("shop", "10"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"))
	h1, h2 := c.host("h1", "/a", 1500), c.host("h2", "/a", 1500)
	stranger := c.host("h3", c.strange(), 1500)
	a, b := h1.pod("shop", "a"), h2.pod("shop", "b")
	c.create(live, a.record("h1"), b.record("h2"))
	answers(t, a, "tcp", b.at(), "b")
	// A counter in front of everything says what reaches the host at all.
	h2.run("nft add table ip count")
	h2.run("nft add chain ip count in { type filter hook prerouting priority -400 ; }")
	h2.run("nft add rule ip count in udp dport 4789 counter")
	h2.run("nft add chain ip count after { type filter hook input priority 10 ; }")
	h2.run("nft add rule ip count after udp dport 4789 counter")
	forged := append([]byte{0x88, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 60)...)
	send := func() error {
		conn, err := net.Dial("udp4", "192.0.2.2:4789")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(forged)
		return err
	}
	if err := a.Do(send); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Do(send); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger's packet arrives", func() error {
		if out := h2.run("nft list chain ip count in"); !strings.Contains(out, "packets 1 ") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if out := h2.run("nft list chain ip count after"); !strings.Contains(out, "packets 0 ") {
		t.Errorf("a packet that no node has sent was taken: %s", out)
	}
}

// strange is a view of a host that belongs to another cluster.
func (c *cluster) strange() string {
	c.create(c.view("/strange"), hostSubnet("h3", "192.0.2.3", "10.128.8.0/23"))
	return "/strange"
}

// A node whose server is away goes on: services, names and repairs are made from what it knows.
func TestNodeServesWhileLiveStateIsAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1500)
	live := c.view("/a")
	c.create(live, netOf("shop", "10"), netOf("bank", "11"), hostSubnet("h1", "192.0.2.1", "10.128.0.0/23"), hostSubnet("h2", "192.0.2.2", "10.128.2.0/23"))
	h1, h2 := c.host("h1", "/a", 1500), c.host("h2", "/a", 1500)
	a, thief, b := h1.pod("shop", "a"), h1.pod("bank", "thief"), h2.pod("shop", "b")
	c.create(live, a.record("h1"), thief.record("h1"), b.record("h2"), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.1",
		Ports: []corev1.ServicePort{{Name: "t", Port: 80, Protocol: "TCP"}, {Name: "u", Port: 80, Protocol: "UDP"}}}},
		&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Subsets: subset(b)})
	name := func() error {
		q := new(miekg.Msg)
		q.SetQuestion("web.shop.svc.cluster.local.", miekg.TypeA)
		return a.Do(func() error {
			got, err := miekg.Exchange(q, "10.128.0.1:53")
			if err == nil && (len(got.Answer) != 1 || got.Answer[0].(*miekg.A).A.String() != "172.30.0.1") {
				err = fmt.Errorf("got %v", got)
			}
			return err
		})
	}
	answers(t, a, "tcp", "172.30.0.1:80", "b")
	eventually(t, "the name", name)
	c.lose()
	harms := []string{"true", "ip link del h-vx", "iptables -F", "iptables -t nat -F", "ip link set h-a800002 down"}
	if os.Getenv(filterEnv) == "" {
		harms = append(harms, "nft delete table ip h")
	}
	for _, harm := range harms {
		h1.run(harm)
		for _, network := range []string{"tcp", "udp"} {
			answers(t, a, network, "172.30.0.1:80", "b")
		}
		eventually(t, "the name after "+harm, name)
		eventually(t, "no way between projects after "+harm, isRefused(func() (string, error) { return thief.ask("tcp", b.at()) }))
	}
}
