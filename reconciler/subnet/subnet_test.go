package subnet

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state/loop"
	"slipway.dev/slipway/state/statetest"
)

func machine(name, subnet string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: subnet}}
}

func used(name, subnet string) *networkv1.HostSubnet {
	return &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Subnet: subnet}
}

func TestDecision(t *testing.T) {
	t.Parallel()
	small := Network{netip.MustParsePrefix("10.128.0.0/22"), 23}
	for name, c := range map[string]struct {
		nodes  []*corev1.Node
		used   []*networkv1.HostSubnet
		before string
		want   string
	}{
		"the first of all":               {nil, nil, "", "10.128.0.0/23"},
		"what it claimed":                {[]*corev1.Node{machine("a", "10.128.2.0/23")}, nil, "", "10.128.2.0/23"},
		"what it uses":                   {[]*corev1.Node{machine("a", "10.128.0.0/23")}, []*networkv1.HostSubnet{used("a", "10.128.2.0/23")}, "", "10.128.2.0/23"},
		"the next free":                  {[]*corev1.Node{machine("b", "10.128.0.0/23"), machine("a", "")}, nil, "", "10.128.2.0/23"},
		"not what another uses":          {[]*corev1.Node{machine("b", ""), machine("a", "")}, []*networkv1.HostSubnet{used("b", "10.128.0.0/23")}, "", "10.128.2.0/23"},
		"what a node had that is gone":   {[]*corev1.Node{machine("a", "")}, []*networkv1.HostSubnet{used("b", "10.128.0.0/23")}, "", "10.128.0.0/23"},
		"what it had before":             {[]*corev1.Node{machine("a", "")}, nil, "10.128.2.0/23", "10.128.2.0/23"},
		"what it had is another's now":   {[]*corev1.Node{machine("b", "10.128.2.0/23")}, nil, "10.128.2.0/23", "10.128.0.0/23"},
		"what it had does not fit":       {nil, nil, "10.0.0.0/23", "10.128.0.0/23"},
		"all taken":                      {[]*corev1.Node{machine("b", "10.128.0.0/23"), machine("c", "10.128.2.0/23")}, nil, "", "node a: all 2 subnets of cluster network 10.128.0.0/22 are taken"},
		"a claim outside of the network": {[]*corev1.Node{machine("a", "10.0.0.0/23")}, nil, "", `node a: spec.podCIDR: "10.0.0.0/23" is no /23 of cluster network 10.128.0.0/22`},
	} {
		w := world{map[string]*corev1.Node{}, map[string]*networkv1.HostSubnet{}}
		for _, n := range c.nodes {
			w.nodes[n.Name] = n
		}
		for _, h := range c.used {
			w.subnets[h.Name] = h
		}
		before, _ := netip.ParsePrefix(c.before)
		got, err := small.want(w, "a", before)
		text := got.String()
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%s: got %s, want %s", name, text, c.want)
		}
	}
}

func TestAddressOfANode(t *testing.T) {
	t.Parallel()
	n := machine("a", "")
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
	if got := addressOf(n); got != "192.0.2.1" {
		t.Errorf("from the status: %q", got)
	}
	n.Annotations = map[string]string{api.NodeAddress: "192.0.2.2"}
	if got := addressOf(n); got != "192.0.2.2" {
		t.Errorf("from the annotation: %q", got)
	}
}

func deps(c client.Client, cluster string) Deps {
	return Deps{Network: Network{netip.MustParsePrefix(cluster), 23}, Client: c, Log: slog.New(slog.DiscardHandler)}
}

// TestNoSubnetHasTwoOwners: many nodes claim at the same moment, by several servers.
func TestNoSubnetHasTwoOwners(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	d := deps(c, "10.128.0.0/19") // 16 subnets
	got := make([]netip.Prefix, 12)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = d.Claim(t.Context(), fmt.Sprintf("n%d", i), netip.Prefix{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	owner := map[netip.Prefix]int{}
	for i, p := range got {
		if other, two := owner[p]; two {
			t.Errorf("nodes %d and %d both have %s", i, other, p)
		}
		owner[p] = i
		var h networkv1.HostSubnet
		if err := c.Get(t.Context(), client.ObjectKey{Name: fmt.Sprintf("n%d", i)}, &h); err != nil || h.Subnet != p.String() {
			t.Errorf("node %d has %s, its HostSubnet %q (%v)", i, p, h.Subnet, err)
		}
	}
}

// TestAFreedSubnetHasOneOwner: a node gets the subnet of one that is gone, but whose HostSubnet nobody has removed
// yet, while that one comes back and finds it.
func TestAFreedSubnetHasOneOwner(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	d := deps(c, "10.128.0.0/14")
	for i := range 20 {
		comer, back := fmt.Sprint("new", i), fmt.Sprint("back", i)
		w, err := d.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		free, err := d.want(w, comer, netip.Prefix{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), &networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: back}, Host: back, Subnet: free.String()}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			// Alone it gets the subnet, and the HostSubnet of before is gone first.
			if got, err := d.Claim(t.Context(), comer, netip.Prefix{}); err != nil || got != free {
				t.Fatalf("got %s (%v), want %s", got, err, free)
			}
			if err := c.Get(t.Context(), client.ObjectKey{Name: back}, &networkv1.HostSubnet{}); !apierrors.IsNotFound(err) {
				t.Errorf("two HostSubnets with %s: %v", free, err)
			}
			continue
		}
		got := map[string]netip.Prefix{comer: {}, back: {}}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, name := range []string{comer, back} {
			wg.Go(func() {
				p, err := d.Claim(t.Context(), name, netip.Prefix{})
				mu.Lock()
				defer mu.Unlock()
				if got[name] = p; err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got[comer] == got[back] {
			t.Errorf("both nodes have %s", got[back])
		}
	}
}

func run(t *testing.T, c client.WithWatch, d Deps) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { loop.Run(ctx, c, slog.New(slog.DiscardHandler), Controllers(d)...) })
	t.Cleanup(func() { stop(); wg.Wait() })
}

// subnets are those in use, as name=subnet@address.
func subnets(t *testing.T, c client.Client) string {
	t.Helper()
	var list networkv1.HostSubnetList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range list.Items {
		out = append(out, h.Name+"="+h.Subnet+"@"+h.HostIP)
	}
	return strings.Join(out, " ")
}

func await(t *testing.T, c client.Client, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got = subnets(t, c); got == want {
			return
		}
	}
	t.Fatalf("got %q, want %q", got, want)
}

func TestNodesGetAndGiveBackSubnets(t *testing.T) {
	t.Parallel()
	c := statetest.New(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	// As a crash leaves two claims of the same subnet that nobody has looked at again.
	must(c.Create(ctx, machine("a", "10.128.0.0/23")))
	must(c.Create(ctx, machine("b", "10.128.0.0/23")))
	d := deps(c, "10.128.0.0/22")
	run(t, c, d)
	var list networkv1.HostSubnetList
	for end := time.Now().Add(30 * time.Second); len(list.Items) < 2 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		must(c.List(ctx, &list))
	}
	if len(list.Items) != 2 || list.Items[0].Subnet == list.Items[1].Subnet {
		t.Fatalf("got %s", subnets(t, c))
	}
	a := &corev1.Node{}
	must(c.Get(ctx, client.ObjectKey{Name: "a"}, a))
	had := a.Spec.PodCIDR
	must(c.Delete(ctx, a))
	b := list.Items[1].Subnet
	await(t, c, "b="+b+"@")
	// The third waits for a free one and gets it.
	must(c.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "c", Annotations: map[string]string{api.NodeAddress: "192.0.2.3"}}}))
	await(t, c, "b="+b+"@ c="+had+"@192.0.2.3")
	n := &corev1.Node{}
	must(c.Get(ctx, client.ObjectKey{Name: "b"}, n))
	n.Annotations = map[string]string{api.NodeAddress: "192.0.2.2"}
	must(c.Update(ctx, n))
	await(t, c, "b="+b+"@192.0.2.2 c="+had+"@192.0.2.3")
}
