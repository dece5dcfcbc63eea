package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	projectv1 "github.com/openshift/api/project/v1"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
)

func TestServices(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	web := x.service("shop", "web", 1, a, b)
	own := x.service("shop", "own", 2, a)
	empty := x.service("shop", "empty", 3)
	for _, network := range []string{"tcp", "udp"} {
		eventually(t, network+" to a pod", tells(func() (string, error) { return a.ask(network, b.at()) }, "b"))
		eventually(t, network+" to a service", tells(func() (string, error) { return a.ask(network, web) }, "a", "b"))
		eventually(t, network+" from the node to a service", tells(func() (string, error) { return ask(network, web) }, "a", "b"))
		eventually(t, network+" from the node to a pod", tells(func() (string, error) { return ask(network, a.at()) }, "a"))
		eventually(t, network+" to itself by a service", tells(func() (string, error) { return a.ask(network, own) }, "a"))
		for who, f := range map[string]func(string, string) (string, error){"a pod": b.ask, "the node": ask} {
			_, err := f(network, empty)
			if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s from %s to a service without endpoints: %v, want it refused", network, who, err)
			}
		}
	}
}

func TestServiceAffinity(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	at := x.service("shop", "web", 1, a, b)
	eventually(t, "spread", tells(func() (string, error) { return a.ask("tcp", at) }, "a", "b"))
	var s corev1.Service
	key := client.ObjectKey{Namespace: "shop", Name: "web"}
	if err := x.client.Get(t.Context(), key, &s); err != nil {
		t.Fatal(err)
	}
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	if err := x.client.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one endpoint per client", func() error {
		first, err := a.ask("tcp", at)
		if err != nil {
			return err
		}
		return tells(func() (string, error) { return a.ask("tcp", at) }, first)()
	})
}

// A client stays with its endpoint as long as that is one, and may be given another after its
// time.
func TestServiceAffinityEnds(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	var behind []pod
	for _, name := range []string{"a", "b", "c", "d"} {
		behind = append(behind, x.pod("shop", name))
	}
	at := x.service("shop", "web", 1, behind...)
	x.change("web", func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](1)}}
	})
	said := func() (string, error) { return behind[0].ask("tcp", at) }
	var first string
	eventually(t, "one endpoint", func() (err error) {
		if first, err = said(); err != nil {
			return err
		}
		return tells(said, first)()
	})
	eventually(t, "another one after the time", func() error {
		time.Sleep(1100 * time.Millisecond)
		if got, err := said(); err != nil || got == first {
			return fmt.Errorf("%q %v", got, err)
		}
		return nil
	})
	x.change("web", func(s *corev1.Service) { *s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds = 10800 })
	eventually(t, "one endpoint for long", func() (err error) {
		if first, err = said(); err != nil {
			return err
		}
		return tells(said, first)()
	})
	e := &corev1.Endpoints{}
	if err := x.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, e); err != nil {
		t.Fatal(err)
	}
	e.Subsets = subset(slices.DeleteFunc(behind, func(p pod) bool { return p.name.Name == first })...)
	if err := x.client.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another one where that is gone", func() error {
		other, err := said()
		if err != nil || other == first {
			return fmt.Errorf("%q %v", other, err)
		}
		return tells(said, other)()
	})
}

func TestNodePortsAndOuterAddresses(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	x.service("shop", "web", 1, a, b)
	n := int(x.driver.ServiceNetwork.Addr().As4()[1]) // all tests share the node's ports
	port, outer := 31000+n, fmt.Sprintf("198.51.100.%d", n)
	outside := x.outside(fmt.Sprintf("192.168.%d", n))
	own := fmt.Sprintf("192.168.%d.1:%d", n, port)
	// The outer address lies behind the node, as far as the node knows.
	if out, err := exec.Command("ip", "route", "add", outer, "via", fmt.Sprintf("192.168.%d.2", n)).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	x.change("web", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(port)
		}
		s.Spec.ExternalIPs = []string{outer}
	})
	// The server has not noted yet that both are the service's.
	for _, at := range []string{own, outer + ":80"} {
		if got, err := outside.ask("tcp", at); err == nil {
			t.Errorf("%s: %q before it was noted", at, got)
		}
	}
	x.change("web", func(s *corev1.Service) {
		s.Annotations = map[string]string{api.NodePortsAnnotation: fmt.Sprint(port), api.ExternalIPsAnnotation: outer}
	})
	for _, network := range []string{"tcp", "udp"} {
		for who, f := range map[string]func(string, string) (string, error){"outside": outside.ask, "a pod": a.ask, "the node": ask} {
			eventually(t, network+" from "+who+" to the node port", tells(func() (string, error) { return f(network, own) }, "a", "b"))
			eventually(t, network+" from "+who+" to the outer address", tells(func() (string, error) { return f(network, outer+":80") }, "a", "b"))
		}
	}
	// Pods see who asks.
	if err := a.Do(func() error {
		return tell(t, ":8081", func(client string) string { host, _, _ := net.SplitHostPort(client); return host })
	}); err != nil {
		t.Fatal(err)
	}
	e := &corev1.Endpoints{}
	if err := x.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, e); err != nil {
		t.Fatal(err)
	}
	e.Subsets = subset(a)
	e.Subsets[0].Ports[0].Port = 8081
	if err := x.client.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "who asks", tells(func() (string, error) { return outside.ask("tcp", own) }, fmt.Sprintf("192.168.%d.2", n)))
	e.Subsets = nil
	if err := x.client.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused without endpoints", func() error {
		_, err := outside.ask("tcp", outer+":80")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
}

func TestUDPLeavesAnEndpointThatGoes(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b, c := x.pod("shop", "a"), x.pod("shop", "b"), x.pod("shop", "c")
	at := x.service("shop", "names", 1, a)
	var conn net.Conn
	if err := c.Do(func() (err error) { conn, err = net.Dial("udp", at); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := func() (string, error) { return speak(conn) }
	eventually(t, "the first endpoint", tells(said, "a"))
	e := &corev1.Endpoints{}
	if err := x.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "names"}, e); err != nil {
		t.Fatal(err)
	}
	e.Subsets = subset(b)
	if err := x.client.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the same socket at the other endpoint", tells(said, "b"))

	// The endpoint changes while no process runs.
	o := x.driver.Options
	x.stop()
	if err := x.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "names"}, e); err != nil {
		t.Fatal(err)
	}
	e.Subsets = subset(a)
	if err := x.client.Update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	x.start(o)
	eventually(t, "the same socket after a restart", tells(said, "a"))
}

func TestProjectsAreIsolated(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "11")
	a, b, c, d := x.pod("shop", "a"), x.pod("shop", "b"), x.pod("bank", "c"), x.pod("default", "d")
	e := x.pod("unnumbered", "e")
	service := x.service("bank", "vault", 1, c)
	eventually(t, "inside a project", tells(func() (string, error) { return a.ask("tcp", b.at()) }, "b"))
	eventually(t, "the service from its project", tells(func() (string, error) { return c.ask("tcp", service) }, "c"))
	for _, pair := range [][2]pod{{a, d}, {d, a}, {d, c}, {e, d}} {
		eventually(t, pair[0].name.Name+" to "+pair[1].name.Name, tells(func() (string, error) { return pair[0].ask("tcp", pair[1].at()) }, pair[1].name.Name))
	}
	for _, pair := range [][2]pod{{a, c}, {c, a}, {a, e}, {e, c}} {
		for _, network := range []string{"tcp", "udp"} {
			if got, err := pair[0].ask(network, pair[1].at()); err == nil {
				t.Errorf("%s reached %s over %s: %q", pair[0].name, pair[1].name, network, got)
			}
		}
	}
	if got, err := a.ask("tcp", service); err == nil {
		t.Errorf("a pod reached another project by a service: %q", got)
	}
	// Joining the projects' networks lets them meet.
	p, err := get[projectv1.Project](t.Context(), x.client, client.ObjectKey{Name: "bank"})
	if err != nil {
		t.Fatal(err)
	}
	p.Annotations["slipway.dev/netid"] = "10"
	if err := x.client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after joining", tells(func() (string, error) { return a.ask("tcp", service) }, "c"))
}

func TestAPodCannotTakeAnothersAddress(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	x.project("bank", "11")
	thief, victim, c := x.pod("shop", "thief"), x.pod("bank", "victim"), x.pod("bank", "c")
	// As an administrator's settings for all links may have it.
	if out, err := exec.Command("sysctl", "-q", "-w", "net.ipv4.conf."+x.driver.linkName(thief.address)+".rp_filter=0").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	eventually(t, "the victim itself", tells(func() (string, error) { return victim.ask("udp", c.at()) }, "c"))
	heard := make(chan string, 10)
	if err := c.Do(func() error {
		return tell(t, ":9999", func(client string) string { heard <- client; return "c" })
	}); err != nil {
		t.Fatal(err)
	}
	send := func(port int) error {
		from := &net.UDPAddr{IP: victim.address.AsSlice(), Port: port}
		conn, err := net.DialUDP("udp4", from, &net.UDPAddr{IP: c.address.AsSlice(), Port: 9999})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("?"))
		return err
	}
	if err := thief.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(victim.address, 32))}); err != nil {
			return err
		}
		return send(6666)
	}); err != nil {
		t.Fatal(err)
	}
	// What the victim sends afterwards arrives afterwards.
	if err := victim.Do(func() error { return send(1111) }); err != nil {
		t.Fatal(err)
	}
	if client := <-heard; strings.HasSuffix(client, ":6666") {
		t.Errorf("a packet from a stolen address arrived, from %s", client)
	}
}

func TestFlatMode(t *testing.T) {
	t.Parallel()
	x := newNode(t, func(o *Options) { o.Flat = true })
	x.project("shop", "10")
	x.project("bank", "11")
	a, c := x.pod("shop", "a"), x.pod("bank", "c")
	eventually(t, "between projects", tells(func() (string, error) { return a.ask("tcp", c.at()) }, "c"))
}

func TestNodeAndOutside(t *testing.T) {
	t.Parallel()
	x := newNode(t, func(o *Options) { o.HostPorts = []uint16{8443} })
	a := x.pod("default", "a")
	gateway := x.driver.Resolver().String()
	if err := tell(t, gateway+":8443", func(string) string { return "router" }); err != nil {
		t.Fatal(err)
	}
	if err := tell(t, gateway+":8444", func(string) string { return "secret" }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an open port of the node", tells(func() (string, error) { return a.ask("tcp", gateway+":8443") }, "router"))
	for _, network := range []string{"tcp", "udp"} {
		if got, err := a.ask(network, gateway+":8444"); err == nil {
			t.Errorf("a pod reached a port of the node over %s: %q", network, got)
		}
	}
	// A neighbour of the node sees pods' connections come from the node, and cannot open any to a pod.
	outside := networktest.New(t)
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out0"}, PeerName: "out1", PeerNamespace: netlink.NsPid(outside.PID)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(pair) })
	addressed := func(link, address string) error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		ip, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, ip); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
	if err := addressed("out0", "192.0.2.1/24"); err != nil {
		t.Fatal(err)
	}
	if err := outside.Do(func() error {
		if err := addressed("out1", "192.0.2.2/24"); err != nil {
			return err
		}
		for _, dst := range []netip.Prefix{x.driver.ClusterNetwork, x.driver.ServiceNetwork} {
			if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(dst), Gw: net.IPv4(192, 0, 2, 1)}); err != nil {
				return err
			}
		}
		return tell(t, ":8080", func(client string) string { host, _, _ := net.SplitHostPort(client); return host })
	}); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		eventually(t, network+" to the outside", tells(func() (string, error) { return a.ask(network, "192.0.2.2:8080") }, "192.0.2.1"))
	}
	web := x.service("default", "web", 1, a)
	eventually(t, "the service from the node", tells(func() (string, error) { return ask("tcp", web) }, "a"))
	for _, at := range []string{a.at(), web, gateway + ":8443"} {
		if got, err := (pod{Namespace: outside}).ask("tcp", at); err == nil {
			t.Errorf("the outside reached %s: %q", at, got)
		}
	}
}

func TestNamesFromAPod(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a := x.pod("shop", "a")
	at := x.service("shop", "web", 1, a)
	for _, network := range []string{"udp", "tcp"} {
		eventually(t, "a name over "+network, func() error {
			return a.Do(func() error {
				q := new(miekg.Msg)
				q.SetQuestion("web.shop.svc.cluster.local.", miekg.TypeA)
				c := miekg.Client{Net: network}
				got, _, err := c.Exchange(q, x.driver.Resolver().String()+":53")
				if err != nil {
					return err
				}
				want := netip.MustParseAddrPort(at).Addr().String()
				if len(got.Answer) != 1 || got.Answer[0].(*miekg.A).A.String() != want {
					return fmt.Errorf("got %v, want %s", got.Answer, want)
				}
				return nil
			})
		})
	}
}

func TestNamesOfAnEmptyCluster(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	q := new(miekg.Msg)
	q.SetQuestion("web.shop.svc.cluster.local.", miekg.TypeA)
	eventually(t, "an answer", func() error {
		got, err := miekg.Exchange(q, x.driver.Resolver().String()+":53")
		if err == nil && got.Rcode != miekg.RcodeNameError {
			err = fmt.Errorf("got %s", miekg.RcodeToString[got.Rcode])
		}
		return err
	})
}

func TestRepair(t *testing.T) {
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	web := x.service("shop", "web", 1, b)
	works := func() (string, error) { return a.ask("tcp", web) }
	eventually(t, "before", tells(works, "b"))
	chain := strings.ToUpper(x.driver.Name) + "-FORWARD"
	// Each damage of a round is by itself enough to cut the pods off.
	for _, round := range [][]string{
		{"nft delete table ip " + x.driver.Name, "iptables -F FORWARD", "ip route del " + b.address.String(), "sysctl -q -w net.ipv4.ip_forward=0"},
		{"nft flush set ip " + x.driver.Name + " members", "iptables -F " + chain, "ip link set down " + x.driver.linkName(b.address)},
		{"ip link del " + x.driver.bridgeName(), "ip link del " + x.driver.linkName(a.address)},
	} {
		for _, damage := range round {
			words := strings.Fields(damage)
			if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v %s", damage, err, out)
			}
		}
		eventually(t, "after "+strings.Join(round, ", "), tells(works, "b"))
	}
	eventually(t, "an event", func() error {
		var events corev1.EventList
		if err := x.client.List(t.Context(), &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "NetworkRepaired" && e.InvolvedObject.Name == "host-a" {
				return nil
			}
		}
		return fmt.Errorf("none of %d events tells of the repair", len(events.Items))
	})
}

func TestRestartAdopts(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.project("shop", "10")
	a, b := x.pod("shop", "a"), x.pod("shop", "b")
	web := x.service("shop", "web", 1, b)
	eventually(t, "before", tells(func() (string, error) { return a.ask("tcp", web) }, "b"))
	o := x.driver.Options
	x.stop()
	if _, err := a.ask("tcp", web); err != nil {
		t.Errorf("while no process runs: %v", err)
	}
	x.start(o)
	if got, err := a.ask("tcp", web); err != nil || got != "b" {
		t.Errorf("after the restart: %q %v", got, err)
	}
	again, err := x.driver.Attach(t.Context(), a.name, a.PID)
	if err != nil || again != a.address {
		t.Errorf("attached again: %v %v, want %v", again, err, a.address)
	}
	// A new sandbox of the same pod keeps the address.
	fresh := networktest.New(t)
	if again, err = x.driver.Attach(t.Context(), a.name, fresh.PID); err != nil || again != a.address {
		t.Fatalf("a new sandbox: %v %v, want %v", again, err, a.address)
	}
	eventually(t, "from the new sandbox", tells(func() (string, error) { return pod{Namespace: fresh}.ask("tcp", web) }, "b"))

	// Without its file, the node finds the addresses by its links.
	x.stop()
	if err := os.Remove(filepath.Join(o.Dir, "network.json")); err != nil {
		t.Fatal(err)
	}
	o.Dir = t.TempDir()
	x.start(o)
	if again, err = x.driver.Attach(t.Context(), b.name, b.PID); err != nil || again != b.address {
		t.Errorf("without the file: %v %v, want %v", again, err, b.address)
	}
}

func TestDetach(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	a := x.pod("default", "a")
	for range 2 {
		if err := x.driver.Detach(t.Context(), a.name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask("tcp", a.at()); err == nil {
		t.Error("a detached pod was reached")
	}
	if b := x.pod("default", "b"); b.address == a.address {
		t.Error("an address was given out again at once")
	}
	if _, err := x.driver.Attach(t.Context(), a.name, 1<<30); err == nil {
		t.Error("a process that does not exist was attached")
	}
}

// moving is what changes by itself: counters with the traffic, a link's state and what the kernel adds for IPv6
// a moment after the link is there.
var (
	moving = regexp.MustCompile(`counter packets \d+ bytes \d+ |<[A-Z_,-]+> |state [A-Z]+ `)
	ofIPv6 = regexp.MustCompile(`\b(fe80|ff00)::`)
)

// left is what a driver of that name has on the node.
func left(t *testing.T, d *Driver) string {
	t.Helper()
	var found []string
	for _, command := range []string{"ip link", "ip route show table all", "ip addr", "nft list ruleset", iptablesHere() + "-save"} {
		words := strings.Fields(command)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", command, err, out)
		}
		network, _, _ := strings.Cut(d.ClusterNetwork.String(), ".0")
		for _, line := range strings.Split(string(out), "\n") {
			if ofIPv6.MatchString(line) {
				continue
			}
			if strings.Contains(line, d.bridgeName()) || strings.Contains(line, d.linkPrefix()) || strings.Contains(line, "table ip "+d.Name+" ") ||
				strings.Contains(line, strings.ToUpper(d.linkPrefix())) || strings.Contains(line, network+".0") {
				found = append(found, moving.ReplaceAllString(line, ""))
			}
		}
	}
	return strings.Join(found, "\n")
}

func TestDownLeavesNothing(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.pod("default", "a")
	if left(t, x.driver) == "" {
		t.Fatal("the test does not see what a driver makes")
	}
	x.stop()
	for range 2 {
		if err := x.driver.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := left(t, x.driver); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

// Two instances of one name would take each other's links and rules away.
func TestNameBelongsToOne(t *testing.T) {
	t.Parallel()
	x := newNode(t, nil)
	x.pod("default", "a")
	x.stop() // what is there is the first one's also while its process does not run
	o := x.driver.Options
	o.Dir = t.TempDir()
	second, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	before := left(t, x.driver)
	if err := second.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "belongs to the instance that keeps its addresses in "+x.driver.Dir) {
		t.Errorf("a second instance of the name: %v", err)
	}
	if err := second.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if after := left(t, x.driver); after != before {
		t.Errorf("the second instance left\n%s\nof\n%s", after, before)
	}
}

func speak(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return "", err
	}
	b := make([]byte, 1500)
	n, err := c.Read(b)
	return string(b[:n]), err
}
