package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	projectv1 "github.com/openshift/api/project/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/network/rules"
	"slipway.dev/slipway/state/statetest"
)

func TestOptionsAreChecked(t *testing.T) {
	c := statetest.New(t)
	prefix := netip.MustParsePrefix
	for what, o := range map[string]Options{
		"are needed":  {},
		"name":        {Node: "a", Client: c, Dir: "/d", Name: "much-too-long"},
		"overlap":     {Node: "a", Client: c, Dir: "/d", ServiceNetwork: prefix("10.130.0.0/16")},
		"host prefix": {Node: "a", Client: c, Dir: "/d", HostPrefix: 12},
		"IPv4":        {Node: "a", Client: c, Dir: "/d", ClusterNetwork: prefix("fd00::/48")},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	d, err := New(Options{Node: "a", Client: c, Dir: "/d"})
	if err != nil {
		t.Fatal(err)
	}
	if d.ClusterNetwork != prefix("10.128.0.0/14") || d.ServiceNetwork != prefix("172.30.0.0/16") || d.HostPrefix != 23 || d.bridgeName() != "slipway0" {
		t.Errorf("defaults: %+v", d.Options)
	}
	for _, text := range []string{"10.128.0.2", "10.131.255.254"} {
		a := netip.MustParseAddr(text)
		name := d.linkName(a)
		if back, ok := d.linkAddress(name); !ok || back != a || len(name) > 15 {
			t.Errorf("link %q of %s gives %s, %v", name, a, back, ok)
		}
	}
	for _, strange := range []string{"slipway0", "slipway-", "slipway-zzzzzzz", "eth0", "slipway-a8000021"} {
		if a, ok := d.linkAddress(strange); ok {
			t.Errorf("link %q was taken for the pod's at %s", strange, a)
		}
	}
}

func book4(t *testing.T) (*leases, *time.Time) {
	now := time.Unix(1000, 0)
	l := &leases{file: filepath.Join(t.TempDir(), "sub", "network.json"), clock: func() time.Time { return now }}
	if err := l.load(); err != nil {
		t.Fatal(err)
	}
	if err := l.change(func(b *book) error { b.Subnet = netip.MustParsePrefix("10.128.0.0/29"); return nil }); err != nil {
		t.Fatal(err)
	}
	return l, &now
}

func TestLeases(t *testing.T) {
	l, now := book4(t)
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "p", Name: n} }
	take := func(n, want string) {
		t.Helper()
		got, err := l.take(name(n))
		text := got.Address.String()
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s got %s, want %s", n, text, want)
		}
	}
	take("a", "10.128.0.2")
	take("a", "10.128.0.2")
	take("b", "10.128.0.3")
	if err := l.free(name("a")); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Second)
	take("c", "10.128.0.4")
	take("d", "10.128.0.5")
	take("e", "10.128.0.6")
	// None is left but the one that was just given back.
	take("f", "10.128.0.2")
	take("g", "all 5 addresses of subnet 10.128.0.0/29 are taken")
	if _, has := l.of(name("g")); has {
		t.Error("a refused pod has an address")
	}
	again := &leases{file: l.file, clock: l.clock}
	if err := again.load(); err != nil || len(again.all()) != 5 {
		t.Errorf("read again: %v, %v", again.all(), err)
	}
	if err := os.WriteFile(l.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.load(); err == nil || !strings.Contains(err.Error(), "network.json") {
		t.Errorf("a broken file was taken for an empty one: %v", err)
	}
}

func TestLeaseIsNotGivenWhereItCannotBeWritten(t *testing.T) {
	l, _ := book4(t)
	l.file = "/proc/none/network.json"
	if got, err := l.take(types.NamespacedName{Name: "a"}); err == nil || len(l.all()) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTenancy(t *testing.T) {
	x := newTenancy()
	project := func(netid string) *projectv1.Project {
		return &projectv1.Project{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.NetIDAnnotation: netid}}}
	}
	if err := errors.Join(x.setProject("a", project("10")), x.setProject("default", &projectv1.Project{})); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "-1", "ten", "4294967295", "2147483648"} {
		if err := x.setProject("b", project(wrong)); err == nil || !strings.Contains(err.Error(), "project b: metadata.annotations[slipway.dev/netid]") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if x.netid("a") != 10 || x.netid("default") != 0 {
		t.Errorf("a has %d, default %d", x.netid("a"), x.netid("default"))
	}
	if b, c := x.netid("b"), x.netid("c"); b == c || b < firstOwn || c < firstOwn || b != x.netid("b") {
		t.Errorf("projects without a number have %d and %d", b, c)
	}
	if x.setProject("a", nil); x.netid("a") == 10 {
		t.Error("a project that is gone kept its number")
	}
}

func TestLostWays(t *testing.T) {
	e := func(proto string, i int) rules.Element {
		return rules.Element{Set: rules.Endpoints, Key: fmt.Sprintf("172.30.0.1 . %s . 53 . %d", proto, i)}
	}
	before := rules.Elements{e("udp", 0): "10.128.0.2 . 53", e("udp", 1): "10.128.0.3 . 53", e("tcp", 0): "10.128.0.2 . 53"}
	now := rules.Elements{e("udp", 0): "10.128.0.3 . 53"}
	front := netip.MustParseAddrPort("172.30.0.1:53")
	lost := lostWays(before, now)
	if len(lost) != 1 || !lost[way{front, netip.MustParseAddrPort("10.128.0.2:53")}] {
		t.Errorf("got %v", lost)
	}
	opened := rules.Elements{{Set: rules.NodePorts, Key: "udp . 30053"}: "", {Set: rules.NodePorts, Key: "tcp . 30053"}: "",
		{Set: rules.Externals, Key: "192.0.2.1 . udp . 53"}: "", {Set: rules.Services, Key: "172.30.0.1 . udp . 53"}: ""}
	lost = lostWays(nil, opened)
	if len(lost) != 2 || !lost[way{front: netip.MustParseAddrPort("0.0.0.0:30053")}] || !lost[way{front: netip.MustParseAddrPort("192.0.2.1:53")}] {
		t.Errorf("got %v", lost)
	}
	if lost = lostWays(opened, opened); len(lost) != 0 {
		t.Errorf("nothing changed, but %v", lost)
	}
}

func TestDecidePrograms(t *testing.T) {
	for _, c := range []struct {
		wish      string
		nftables  bool
		installed string
		chains    bool
		program   string // or the error
	}{
		{"", true, "iptables iptables-legacy", false, "iptables"},
		{"", false, "iptables iptables-legacy", true, "iptables-legacy"},
		{"", false, "iptables", true, "iptables"},
		{"nftables", true, "iptables", false, "iptables"},
		{"nftables", false, "iptables", false, "kernel has no nftables"},
		{"iptables", true, "iptables iptables-legacy", true, "iptables"},
		{"iptables", false, "iptables iptables-legacy", true, "iptables-legacy"},
		{"iptables-legacy", true, "iptables iptables-legacy", true, "iptables-legacy"},
		{"iptables-legacy", true, "iptables", false, "program iptables-legacy is needed"},
		{"", true, "", false, "program iptables is needed"},
	} {
		chains, program, err := decidePrograms(c.wish, c.nftables, func(p string) bool { return slices.Contains(strings.Fields(c.installed), p) })
		if err != nil {
			program = err.Error()
		}
		if chains != c.chains || !strings.Contains(program, c.program) || (err == nil) != (program == c.program) {
			t.Errorf("%q, nftables %v, installed %q: got %v %q", c.wish, c.nftables, c.installed, chains, program)
		}
	}
}
