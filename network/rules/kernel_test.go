package rules

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/nftables"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
)

func held(t *testing.T, k *Kernel) (Elements, bool) {
	t.Helper()
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	have, intact, err := k.read(c)
	if err != nil {
		t.Fatal(err)
	}
	return have, intact
}

func mustHold(t *testing.T, k *Kernel, tab *Table) {
	t.Helper()
	have, intact := held(t, k)
	if !intact {
		t.Fatal("the frame is not intact")
	}
	if got, want := have.String(), tab.Elements().String(); got != want {
		t.Fatalf("the kernel holds\n%s\nwant\n%s", got, want)
	}
}

func mustSync(t *testing.T, k *Kernel, tab *Table) bool {
	t.Helper()
	repaired, err := k.Sync(tab)
	if err != nil {
		t.Fatal(err)
	}
	return repaired
}

func fill(tab *Table) {
	services, endpoints, pods := world()
	for i := range services {
		for j := range endpoints {
			if services[i].Name == endpoints[j].Name {
				tab.Put("service "+services[i].Name, OfService("host-a", &services[i], &endpoints[j]))
			}
		}
	}
	for _, p := range pods {
		tab.Put("pod "+p.Name.String(), OfPod(p))
	}
}

func TestKernelHoldsWhatIsWanted(t *testing.T) {
	k, tab := NewKernel(frame("holds")), NewTable()
	t.Cleanup(func() { k.Remove() })
	fill(tab)
	mustSync(t, k, tab)
	mustHold(t, k, tab)

	// A service grows from two endpoints to three, another one goes.
	svc := service("shop", "web", "172.30.0.1", corev1.ServicePort{Name: "http", Port: 80})
	eps := endpointsOf("shop", "web", []string{"10.128.0.2", "10.128.0.3", "10.128.0.5"}, corev1.EndpointPort{Name: "http", Port: 8080})
	tab.Put("service web", OfService("host-a", &svc, &eps))
	tab.Put("service sticky", nil)
	if mustSync(t, k, tab) {
		t.Error("our own change was taken for a repair")
	}
	mustHold(t, k, tab)
	if repaired, err := k.Check(tab); repaired || err != nil {
		t.Errorf("nothing to repair: %v %v", repaired, err)
	}

	// A new process finds everything as it was.
	again := NewKernel(frame("holds"))
	if mustSync(t, again, tab) {
		t.Error("a restart took an intact table for a broken one")
	}
	mustHold(t, again, tab)
}

func TestKernelIsRepaired(t *testing.T) {
	k, tab := NewKernel(frame("repair")), NewTable()
	t.Cleanup(func() { k.Remove() })
	fill(tab)
	mustSync(t, k, tab)
	damages := map[string]func(c *nftables.Conn){
		"table deleted": func(c *nftables.Conn) { c.DelTable(k.table()) },
		"rules flushed": func(c *nftables.Conn) { c.FlushTable(k.table()) },
		"chain flushed": func(c *nftables.Conn) { c.FlushChain(&nftables.Chain{Name: "spread-2", Table: k.table()}) },
		"elements gone": func(c *nftables.Conn) { c.FlushSet(k.set(Services)) },
		"element added": func(c *nftables.Conn) {
			el, _ := elementOf(Element{HostPorts, "22"}, "")
			c.SetAddElements(k.set(HostPorts), []nftables.SetElement{el})
		},
		"strange chain": func(c *nftables.Conn) { c.AddChain(&nftables.Chain{Name: "strange", Table: k.table()}) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			c, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			damage(c)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			repaired, err := k.Check(tab)
			if err != nil || !repaired {
				t.Fatalf("repaired %v, %v", repaired, err)
			}
			mustHold(t, k, tab)
		})
	}
}

// What was found out about an open connection holds only until somebody leaves a virtual network.
func TestEpochEndsWhenSomebodyLeaves(t *testing.T) {
	k, tab := NewKernel(frame("epochs")), NewTable()
	t.Cleanup(func() { k.Remove() })
	pod := func(name, address string, netid uint32) {
		tab.Put(name, OfPod(Pod{Name: types.NamespacedName{Name: name}, Address: netip.MustParseAddr(address), Netid: netid}))
	}
	pod("a", "10.128.0.2", 10)
	mustSync(t, k, tab)
	for _, step := range []struct {
		what    string
		do      func()
		another bool
	}{
		{"another pod", func() { pod("b", "10.128.0.3", 10) }, false},
		{"a service", func() { tab.Put("service", Elements{{HostPorts, "80"}: ""}) }, false},
		{"no service", func() { tab.Put("service", nil) }, false},
		{"a pod's project is isolated", func() { pod("b", "10.128.0.3", 11) }, true},
		{"a pod goes", func() { tab.Put("b", nil) }, true},
	} {
		before := k.frame.epoch
		step.do()
		mustSync(t, k, tab)
		if (k.frame.epoch != before) != step.another {
			t.Errorf("%s: epoch %d after %d", step.what, k.frame.epoch, before)
		}
		mustHold(t, k, tab)
		again := NewKernel(frame("epochs"))
		if mustSync(t, again, tab) || again.frame.epoch != k.frame.epoch {
			t.Errorf("%s: another process takes it for epoch %d, want %d", step.what, again.frame.epoch, k.frame.epoch)
		}
	}
	before := k.frame.epoch
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	c.FlushChain(&nftables.Chain{Name: trust, Table: k.table()})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if repaired, err := k.Check(tab); err != nil || !repaired || k.frame.epoch == before {
		t.Errorf("after a flush: repaired %v, %v, epoch %d after %d", repaired, err, k.frame.epoch, before)
	}
	mustHold(t, k, tab)
}

func TestKernelTakesManyInOneTransaction(t *testing.T) {
	k, tab := NewKernel(frame("many")), NewTable()
	t.Cleanup(func() { k.Remove() })
	a := netip.MustParseAddr("10.128.0.2")
	for i := range 3000 {
		tab.Put(fmt.Sprint(i), OfPod(Pod{Name: types.NamespacedName{Name: fmt.Sprint(i)}, Address: a, Netid: uint32(i)}))
		a = a.Next()
	}
	mustSync(t, k, tab)
	mustHold(t, k, tab)
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, ch := range chains {
		if ch.Table.Name == "many" {
			n++
		}
	}
	if want := len(frame("many").chains()); n != want {
		t.Errorf("%d chains for 3000 pods, want the constant %d", n, want)
	}
}

// What an administrator looks with must be able to read everything that we write.
func TestNftReadsTheTable(t *testing.T) {
	f := frame("readable")
	f.Overlay, f.VNI, f.OverlayPort = "readable-vx", 1, 4789
	k, tab := NewKernel(f), NewTable()
	t.Cleanup(func() { k.Remove() })
	fill(tab)
	tab.Put("policies", OfPolicies("shop", []*networkingv1.NetworkPolicy{
		policy(t, "p", `{podSelector: {}, ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80, endPort: 90}, {port: 99}]}], egress: [{}]}`)}, policyWorld(), numbers()))
	mustSync(t, k, tab)
	out, err := exec.Command("nft", "list", "table", "ip", "readable").CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, want := range []string{"sticky-2-60", "nodesticky", "meta mark . ip saddr", "192.0.2.0/24"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nft does not show %q:\n%s", want, out)
		}
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	k, tab := NewKernel(frame("gone")), NewTable()
	mustSync(t, k, tab)
	for range 2 {
		if err := k.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tables {
		if x.Name == "gone" {
			t.Error("the table is still there")
		}
	}
}
