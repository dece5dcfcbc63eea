package network

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	projectv1 "github.com/openshift/api/project/v1"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/networktest"
	"slipway.dev/slipway/state"
	"slipway.dev/slipway/state/loop"
)

// hostEnv makes this binary a host: a driver in a network namespace of its own, told by
// its standard input what to do.
const hostEnv = "NETWORK_TEST_HOST"

// hostConfig is what a host is started with.
type hostConfig struct {
	Name, Dir, Endpoint, KeyFile, Prefix string
	Flat                                 bool
}

// order is one line to a host, and report its answer.
type order struct {
	Pod    types.NamespacedName
	PID    int
	Detach bool
}

type report struct {
	Address netip.Addr
	Error   string
}

func hostMain() int {
	// The interrupt of a terminal is for the test.
	signal.Ignore(os.Interrupt)
	if err := runHost(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runHost() error {
	var c hostConfig
	if err := json.Unmarshal([]byte(os.Getenv(hostEnv)), &c); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("host", c.Name)
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil { // The underlay is there.
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, err := state.Open(ctx, state.Options{Endpoints: []string{c.Endpoint}, KeyFile: c.KeyFile, Prefix: c.Prefix, Log: log})
	if err != nil {
		return err
	}
	defer store.Close()
	d, err := New(Options{Node: c.Name, Client: store.Client(), Dir: c.Dir, Name: "h", Flat: c.Flat, ResolvConf: os.DevNull, PacketFilter: os.Getenv(filterEnv), Log: log})
	if err != nil {
		return err
	}
	if err := d.Up(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, store.Client(), log, d.Controllers()...) })
	defer wg.Wait()
	defer cancel()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(report{Address: d.Resolver()}); err != nil {
		return err
	}
	for orders := json.NewDecoder(in); ; {
		var o order
		if err := orders.Decode(&o); err != nil {
			return nil // The test has ended.
		}
		var r report
		if o.Detach {
			err = d.Detach(ctx, o.Pod)
		} else {
			r.Address, err = d.Attach(ctx, o.Pod, o.PID)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

// cluster is some hosts on one underlay, each with live state of its own view: all the
// same one unless a test wants otherwise.
type cluster struct {
	t        *testing.T
	lose     func() // live state is gone, for good
	endpoint string
	key      string
	bridge   string
	number   int
	hosts    int
}

var clusters atomic.Int32

func newCluster(t *testing.T, mtu int) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip-net-") // Short: it holds a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	store, err := state.Open(context.Background(), state.Options{DataDir: dir, NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	lose := sync.OnceFunc(store.Close)
	t.Cleanup(lose)
	n := int(clusters.Add(1))
	c := &cluster{t: t, lose: lose, endpoint: state.Socket(dir), key: dir + "/seal.key", bridge: fmt.Sprintf("under%d", n), number: n}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = c.bridge, mtu
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(bridge) })
	// Where the machine filters what its bridges carry, FORWARD's policy would drop it.
	if out, err := exec.Command(iptablesHere(), "-I", "FORWARD", "-i", c.bridge, "-j", "ACCEPT").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return c
}

func (c *cluster) view(prefix string) *state.Client {
	c.t.Helper()
	store, err := state.Open(context.Background(), state.Options{Endpoints: []string{c.endpoint}, KeyFile: c.key, Prefix: prefix, Default: api.Default, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(store.Close)
	return store.Client()
}

// machine is a host of a cluster.
type machine struct {
	networktest.Namespace
	t       *testing.T
	name    string
	address string
	in      io.Writer
	out     *json.Decoder
	mu      sync.Mutex
}

// host starts a host whose view of live state holds its HostSubnet already.
func (c *cluster) host(name, prefix string, mtu int) *machine {
	c.t.Helper()
	c.hosts++
	m := &machine{t: c.t, name: name, address: fmt.Sprintf("192.0.2.%d", c.hosts)}
	config, err := json.Marshal(hostConfig{Name: name, Dir: c.t.TempDir(), Endpoint: c.endpoint, KeyFile: c.key, Prefix: prefix})
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hostEnv+"="+string(config))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	// It ends when its standard input does, however the test ends.
	cmd.Stderr = testLog{c.t}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	m.PID, m.in, m.out = cmd.Process.Pid, in, json.NewDecoder(out)
	c.plug(m, mtu)
	if _, err := io.WriteString(in, "\n"); err != nil {
		c.t.Fatal(err)
	}
	var r report
	if err := m.out.Decode(&r); err != nil {
		c.t.Fatalf("host %s: %v", name, err)
	}
	return m
}

func (m *machine) String() string { return m.name + " at " + m.address }

// plug connects a host to the underlay.
func (c *cluster) plug(m *machine, mtu int) {
	c.t.Helper()
	name := fmt.Sprintf("u%d-%d", c.number, c.hosts)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "wire", PeerNamespace: netlink.NsPid(m.PID)}
	bridge, err := netlink.LinkByName(c.bridge)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkAdd(pair), netlink.LinkSetMaster(pair, bridge), netlink.LinkSetUp(pair)); err != nil {
		c.t.Fatal(err)
	}
	for _, line := range []string{"ip link set lo up", "ip link set wire mtu " + fmt.Sprint(mtu), "ip addr add " + m.address + "/24 dev wire", "ip link set wire up",
		"ip route add default via 192.0.2.254", "iptables -P FORWARD DROP", "iptables -P INPUT DROP", "iptables -A INPUT -i lo -j ACCEPT", "iptables -A INPUT -p icmp -j ACCEPT", "iptables -A INPUT -p tcp -m conntrack --ctstate ESTABLISHED -j ACCEPT",
		"iptables -A INPUT -i h-+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"} {
		m.run(line)
	}
}

// run runs a command in the host.
func (m *machine) run(line string) string {
	m.t.Helper()
	var out []byte
	if err := m.Do(func() (err error) {
		words := strings.Fields(line)
		if words[0] == iptablesProgram {
			words[0] = iptablesHere()
		}
		out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
		return err
	}); err != nil {
		m.t.Fatalf("%s: %s: %v %s", m.name, line, err, out)
	}
	return string(out)
}

func (m *machine) pod(project, name string) pod {
	m.t.Helper()
	p := pod{Namespace: networktest.New(m.t), name: types.NamespacedName{Namespace: project, Name: name}}
	m.mu.Lock()
	defer m.mu.Unlock()
	var r report
	if err := errors.Join(json.NewEncoder(m.in).Encode(order{Pod: p.name, PID: p.PID}), m.out.Decode(&r)); err != nil || r.Error != "" {
		m.t.Fatalf("attach %s on %s: %v %s", p.name, m, err, r.Error)
	}
	p.address = r.Address
	if err := p.Do(func() error { return tell(m.t, ":8080", func(string) string { return name }) }); err != nil {
		m.t.Fatal(err)
	}
	return p
}

func hostSubnet(name, address, subnet string) *networkv1.HostSubnet {
	return &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Host: name, HostIP: address, Subnet: subnet}
}

func netOf(name, netid string) *projectv1.Project {
	return &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{api.NetIDAnnotation: netid}}}
}

func (c *cluster) create(to client.Client, objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		status := o.DeepCopyObject().(client.Object)
		if err := to.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
		if _, isPod := o.(*corev1.Pod); isPod {
			status.SetResourceVersion(o.GetResourceVersion())
			if err := to.Status().Update(c.t.Context(), status); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// record is the object of a pod that runs on another node.
func (p pod) record(node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.name.Namespace, Name: p.name.Name}, Spec: corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{PodIP: p.address.String(), Phase: corev1.PodRunning}}
}
