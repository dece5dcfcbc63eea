package network

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
	"slipway.dev/slipway/state/event"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		os.Exit(hostMain())
	}
	if os.Getenv("NETWORKTEST_INSIDE") != "" {
		// As Docker leaves a host.
		if out, err := exec.Command(iptablesHere(), "-P", "FORWARD", "DROP").CombinedOutput(); err != nil {
			fmt.Fprintln(os.Stderr, string(out), err)
			os.Exit(1)
		}
	}
	networktest.Main(m)
}

// filterEnv names what the drivers of this process make their rules with; see TestWholePathThroughIPTables.
const filterEnv = "NETWORK_TEST_FILTER"

// iptablesHere is the program that this process's hosts use.
func iptablesHere() string { return cmp.Or(os.Getenv(filterEnv), iptablesProgram) }

const patience = 30 * time.Second

// node is a driver on the test's node, with live state and running controllers.
type node struct {
	t      *testing.T
	client client.WithWatch
	driver *Driver
	stop   func()
}

var nodes atomic.Int32

// newNode takes networks that no other test has, since all live on one node.
func newNode(t *testing.T, change func(*Options)) *node {
	t.Helper()
	n := int(nodes.Add(1))
	c := statetest.New(t)
	resolv := t.TempDir() + "/resolv.conf"
	if err := os.WriteFile(resolv, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Node: "host-a", Client: c, Name: fmt.Sprintf("t%03d", n), Dir: t.TempDir(), ResolvConf: resolv, PacketFilter: os.Getenv(filterEnv),
		ClusterNetwork: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", n)),
		ServiceNetwork: netip.MustParsePrefix(fmt.Sprintf("172.%d.0.0/16", 16+n)),
		Log:            slog.New(slog.NewTextHandler(testLog{t}, nil))}
	o.Recorder = event.New(c, "network", o.Log)
	if change != nil {
		change(&o)
	}
	if o.Subnet == nil {
		o.Subnet = firstSubnet(o.ClusterNetwork)
	}
	x := &node{t: t, client: c}
	x.start(o)
	t.Cleanup(func() {
		x.stop()
		if err := x.driver.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return x
}

// firstSubnet is given to a node that is alone.
func firstSubnet(cluster netip.Prefix) func(context.Context, netip.Prefix) (netip.Prefix, error) {
	return func(context.Context, netip.Prefix) (netip.Prefix, error) {
		return netip.PrefixFrom(cluster.Addr(), 23), nil
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// start begins as a fresh process does; stop ends it as a process ends.
func (x *node) start(o Options) {
	x.t.Helper()
	d, err := New(o)
	if err != nil {
		x.t.Fatal(err)
	}
	if err := d.Up(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop.Run(ctx, o.Client, o.Log, d.Controllers()...)
	}()
	x.driver = d
	x.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := d.Close(); err != nil {
			x.t.Error(err)
		}
	})
}

func (x *node) create(obj client.Object) {
	x.t.Helper()
	if err := x.client.Create(x.t.Context(), obj); err != nil {
		x.t.Fatal(err)
	}
}

func (x *node) project(name, netid string) {
	x.t.Helper()
	x.create(&projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{api.NetIDAnnotation: netid}}})
}

// pod is an attached namespace in which a server tells its name to who connects: on TCP
// and UDP port 8080.
type pod struct {
	networktest.Namespace
	name    types.NamespacedName
	address netip.Addr
}

func (x *node) pod(project, name string) pod {
	x.t.Helper()
	p := pod{Namespace: networktest.New(x.t), name: types.NamespacedName{Namespace: project, Name: name}}
	a, err := x.driver.Attach(x.t.Context(), p.name, p.PID)
	if err != nil {
		x.t.Fatal(err)
	}
	p.address = a
	if err := p.Do(func() error { return tell(x.t, ":8080", func(string) string { return name }) }); err != nil {
		x.t.Fatal(err)
	}
	return p
}

// tell answers every client of an address, over TCP and UDP, until the test ends.
func tell(t *testing.T, at string, what func(client string) string) error {
	tcp, err := net.Listen("tcp4", at)
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp4", tcp.Addr().String())
	if err != nil {
		return err
	}
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, what(c.RemoteAddr().String()))
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 1500)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			udp.WriteTo([]byte(what(from.String())), from)
		}
	}()
	return nil
}

// ask is what the server at an address tells.
func ask(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if network == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 1500)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func (p pod) ask(network, address string) (got string, err error) {
	err = p.Do(func() (err error) { got, err = ask(network, address); return err })
	return got, err
}

func (p pod) at() string { return p.address.String() + ":8080" }

// service makes a service of port 80 with the pods behind it.
func (x *node) service(project, name string, host byte, behind ...pod) string {
	x.t.Helper()
	b := x.driver.ServiceNetwork.Addr().As4()
	b[3] = host
	ip := netip.AddrFrom4(b).String()
	ports := []corev1.ServicePort{{Name: "t", Port: 80, Protocol: "TCP"}, {Name: "u", Port: 80, Protocol: "UDP"}}
	x.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports, Selector: map[string]string{"app": name}}})
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	e.Subsets = subset(behind...)
	x.create(e)
	return ip + ":80"
}

// change changes a service of project shop.
func (x *node) change(name string, f func(*corev1.Service)) {
	x.t.Helper()
	var s corev1.Service
	if err := x.client.Get(x.t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &s); err != nil {
		x.t.Fatal(err)
	}
	f(&s)
	if err := x.client.Update(x.t.Context(), &s); err != nil {
		x.t.Fatal(err)
	}
}

// outside is a neighbour of the node, which has .1 of a network and the neighbour .2.
func (x *node) outside(network string) pod {
	x.t.Helper()
	other := pod{Namespace: networktest.New(x.t)}
	name := x.driver.Name + "out"
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "out1", PeerNamespace: netlink.NsPid(other.PID)}
	if err := netlink.LinkAdd(pair); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { netlink.LinkDel(pair) })
	if err := addressed(name, network+".1/24"); err != nil {
		x.t.Fatal(err)
	}
	if err := other.Do(func() error {
		if err := addressed("out1", network+".2/24"); err != nil {
			return err
		}
		everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		return netlink.RouteAdd(&netlink.Route{Dst: everything, Gw: net.ParseIP(network + ".1")})
	}); err != nil {
		x.t.Fatal(err)
	}
	return other
}

// addressed gives a link an address.
func addressed(link, address string) error {
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

func subset(behind ...pod) []corev1.EndpointSubset {
	if len(behind) == 0 {
		return nil
	}
	s := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "t", Port: 8080, Protocol: "TCP"}, {Name: "u", Port: 8080, Protocol: "UDP"}}}
	for _, p := range behind {
		s.Addresses = append(s.Addresses, corev1.EndpointAddress{IP: p.address.String()})
	}
	return []corev1.EndpointSubset{s}
}

// eventually waits until what is true is what should be.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// tells says that f's answers are, after some tries, exactly those wanted.
func tells(f func() (string, error), want ...string) func() error {
	return func() error {
		got := map[string]bool{}
		for range 20 * len(want) {
			answer, err := f()
			if err != nil {
				return err
			}
			got[answer] = true
		}
		for _, w := range want {
			if !got[w] {
				return fmt.Errorf("got %v, want %v", got, want)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	}
}
