package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// numbers gives keys numbers in the order in which they come.
func numbers() Number {
	have := map[string]uint32{}
	return func(key string) uint32 {
		if have[key] == 0 {
			have[key] = uint32(len(have) + 1)
		}
		return have[key]
	}
}

func aPeer(ip, app string, here bool, ports ...NamedPort) Peer {
	a, _ := netip.ParseAddr(ip)
	return Peer{Address: a, Labels: labels.Set{"app": app}, Ports: ports, Here: here}
}

func policyWorld() World {
	return World{
		Peers: map[string]map[string]Peer{
			"shop": {
				"web": aPeer("10.128.0.2", "web", true, NamedPort{"http", "TCP", 8080}),
				"db":  aPeer("10.128.0.3", "db", true, NamedPort{"sql", "TCP", 5432}),
				"far": aPeer("10.128.2.2", "web", false, NamedPort{"http", "TCP", 8081}),
				"new": aPeer("", "web", true),
			},
			"bank": {"teller": aPeer("10.128.0.9", "teller", true)},
		},
		Projects: map[string]labels.Set{"shop": {"tier": "front"}, "bank": {"tier": "back"}},
	}
}

func policy(t *testing.T, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{}
	p.Name = name
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if p.Spec.PolicyTypes == nil {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	return p
}

const webIn = "groupsin 10.128.0.2 : 1\npolicedin 10.128.0.2 : jump ingress\n"

func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, spec, want string }{
		{"nothing in", `{podSelector: {matchLabels: {app: web}}}`, webIn},
		{"nothing in or out", `{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}`,
			"groupsin 10.128.0.2 : 1\ngroupsout 10.128.0.2 : 2\npolicedin 10.128.0.2 : jump ingress\npolicedout 10.128.0.2 : jump egress\n"},
		{"everything in", `{podSelector: {matchLabels: {app: web}}, ingress: [{}]}`, "groupblocks 1 . 0.0.0.0-255.255.255.255\n" + webIn},
		{"one port of everybody", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}, {port: 53, protocol: UDP}]}]}`,
			"groupports 1 . tcp . 80\ngroupports 1 . udp . 53\n" + webIn},
		{"pods of the project", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}`,
			"grouppeers 1 . 10.128.0.2\ngrouppeers 1 . 10.128.0.3\ngrouppeers 1 . 10.128.2.2\n" + webIn},
		{"some pods at one port", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}]}]}`,
			"groupsin 10.128.0.2 : 1\ngroupways 1 . 10.128.0.3 . tcp . 80\npolicedin 10.128.0.2 : jump ingress\n"},
		{"a project by label", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {tier: back}}}]}]}`,
			"grouppeers 1 . 10.128.0.9\n" + webIn},
		{"a project by name", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}, podSelector: {matchLabels: {app: teller}}}]}]}`,
			"grouppeers 1 . 10.128.0.9\n" + webIn},
		{"a named port is the pod's", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}, {port: sql}]}]}`,
			"groupports 1 . tcp . 8080\n" + webIn},
		{"a range of ports from pods", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 8000, endPort: 8010}]}]}`,
			"groupranges 1 . 10.128.0.3 . tcp . 8000-8010\n" + webIn},
		{"a protocol as a whole", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{protocol: UDP}]}]}`,
			"groupranges 1 . 0.0.0.0-255.255.255.255 . udp . 0-65535\n" + webIn},
		{"a block without a part", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.64/26]}}]}]}`,
			"groupblocks 1 . 192.0.2.0-192.0.2.63\ngroupblocks 1 . 192.0.2.128-192.0.2.255\n" + webIn},
		{"blocks at ports that overlap", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80, endPort: 90}]}, {from: [{ipBlock: {cidr: 192.0.2.128/25}}], ports: [{port: 85, endPort: 95}]}]}`,
			"groupranges 1 . 192.0.2.0-192.0.2.127 . tcp . 80-90\ngroupranges 1 . 192.0.2.128-192.0.2.255 . tcp . 80-95\n" + webIn},
		{"out to named ports of pods", `{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}`,
			"groupsout 10.128.0.3 : 1\ngroupways 1 . 10.128.0.2 . tcp . 8080\ngroupways 1 . 10.128.2.2 . tcp . 8081\npolicedout 10.128.0.3 : jump egress\n"},
		{"a selector that no pod fits", `{podSelector: {matchLabels: {app: none}}}`, ""},
		{"pods of other nodes are restricted there", `{podSelector: {matchLabels: {app: teller}}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := OfPolicies("shop", []*networkingv1.NetworkPolicy{policy(t, "p", c.spec)}, policyWorld(), numbers())
			if got.String() != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// What any policy allows is allowed; pods that the same policies select share a group.
func TestPoliciesUnite(t *testing.T) {
	t.Parallel()
	w := policyWorld()
	w.Peers["shop"]["web2"] = aPeer("10.128.0.4", "web", true, NamedPort{"http", "TCP", 8080})
	got := OfPolicies("shop", []*networkingv1.NetworkPolicy{
		policy(t, "deny", `{podSelector: {}}`),
		policy(t, "web", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}`),
		policy(t, "db", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}`),
	}, w, func(key string) uint32 {
		return map[string]uint32{"shop/ingress deny": 1, "shop/ingress db deny web": 2}[key]
	})
	const want = `grouppeers 2 . 10.128.0.3
groupports 2 . tcp . 80
groupsin 10.128.0.2 : 2
groupsin 10.128.0.3 : 1
groupsin 10.128.0.4 : 2
policedin 10.128.0.2 : jump ingress
policedin 10.128.0.3 : jump ingress
policedin 10.128.0.4 : jump ingress
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func egress(rules ...string) *networkv1.EgressNetworkPolicy {
	p := &networkv1.EgressNetworkPolicy{}
	for _, r := range rules {
		kind, to, _ := strings.Cut(r, " ")
		rule := networkv1.EgressNetworkPolicyRule{Type: networkv1.EgressNetworkPolicyRuleType(kind)}
		if strings.Contains(to, "/") {
			rule.To.CIDRSelector = to
		} else {
			rule.To.DNSName = to
		}
		p.Spec.Egress = append(p.Spec.Egress, rule)
	}
	return p
}

func TestFirewall(t *testing.T) {
	t.Parallel()
	lookup := func(name string) []netip.Addr {
		if name == "www.example.com." {
			return []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")}
		}
		return nil
	}
	for _, c := range []struct {
		name     string
		policies []*networkv1.EgressNetworkPolicy
		want     []string
	}{
		{"none", nil, nil},
		{"nothing is denied", []*networkv1.EgressNetworkPolicy{egress("Allow 192.0.2.0/24")}, nil},
		{"a network", []*networkv1.EgressNetworkPolicy{egress("Deny 192.0.2.0/24")}, []string{"192.0.2.0-192.0.2.255"}},
		{"the first that holds an address decides", []*networkv1.EgressNetworkPolicy{egress("Allow 192.0.2.0/25", "Deny 192.0.2.0/24", "Allow 192.0.2.128/25")}, []string{"192.0.2.128-192.0.2.255"}},
		{"a name among all others", []*networkv1.EgressNetworkPolicy{egress("Allow WWW.example.com", "Deny 0.0.0.0/0")}, []string{"0.0.0.0-192.0.2.6", "192.0.2.8-255.255.255.255"}},
		{"a name without an address", []*networkv1.EgressNetworkPolicy{egress("Deny nowhere.example.com.")}, nil},
		{"0.0.0.0/32 is everything", []*networkv1.EgressNetworkPolicy{egress("Deny 0.0.0.0/32")}, []string{"0.0.0.0-255.255.255.255"}},
		{"two policies", []*networkv1.EgressNetworkPolicy{egress("Allow 0.0.0.0/0"), egress("Allow 0.0.0.0/0")}, []string{"0.0.0.0-255.255.255.255"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := Elements{}
			for _, r := range c.want {
				want[Element{GroupBlocks, "1 . " + r}] = ""
			}
			if len(c.want) > 0 {
				want[Element{Firewalled, "10.128.0.2"}], want[Element{Firewalled, "10.128.0.3"}] = "", ""
				want[Element{Firewalls, "10.128.0.2"}], want[Element{Firewalls, "10.128.0.3"}] = "1", "1"
			}
			if got := OfFirewall("shop", c.policies, policyWorld(), lookup, numbers()); got.String() != want.String() {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// The kernel takes every kind of element and change of policies, and gives back what it took.
func TestKernelHoldsPolicies(t *testing.T) {
	k, tab := NewKernel(frame("policies")), NewTable()
	t.Cleanup(func() { k.Remove() })
	id := numbers()
	put := func(specs ...string) {
		t.Helper()
		var list []*networkingv1.NetworkPolicy
		for i, spec := range specs {
			list = append(list, policy(t, fmt.Sprint("p", i), spec))
		}
		tab.Put("policies", OfPolicies("shop", list, policyWorld(), id))
		mustSync(t, k, tab)
		mustHold(t, k, tab)
		if again := NewKernel(frame("policies")); mustSync(t, again, tab) {
			t.Error("a restart took an intact table for a broken one")
		}
	}
	put(`{podSelector: {}, policyTypes: [Ingress, Egress]}`)
	put(`{podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {ports: [{port: 80}]}]}`, `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.64/26]}}], ports: [{port: 80}, {port: 90, endPort: 99}]}]}`)
	put(`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/25}}], ports: [{port: 85, endPort: 95}]}]}`, `{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}`)
	put()
}

func TestSpans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ list, others, union, without []span }{
		{nil, nil, nil, nil},
		{[]span{{5, 9}, {1, 4}}, nil, []span{{1, 9}}, []span{{1, 9}}},
		{[]span{{1, 4}, {6, 9}}, []span{{4, 6}}, []span{{1, 4}, {6, 9}}, []span{{1, 3}, {7, 9}}},
		{[]span{everywhere}, []span{{0, 0}, {0xffffffff, 0xffffffff}}, []span{everywhere}, []span{{1, 0xfffffffe}}},
		{[]span{{0, 10}, {0xfffffff0, 0xffffffff}}, []span{everywhere}, []span{{0, 10}, {0xfffffff0, 0xffffffff}}, nil},
	} {
		if got := union(c.list); !slices.Equal(got, c.union) {
			t.Errorf("union of %v: %v, want %v", c.list, got, c.union)
		}
		if got := without(c.list, c.others); !slices.Equal(got, c.without) {
			t.Errorf("%v without %v: %v, want %v", c.list, c.others, got, c.without)
		}
	}
}

// FuzzApart: boxes that were made not to overlap hold the same points.
func FuzzApart(f *testing.F) {
	f.Add([]byte{0, 9, 0, 9, 5, 20, 5, 20})
	f.Fuzz(func(t *testing.T, data []byte) {
		var boxes []box
		for ; len(data) >= 4 && len(boxes) < 8; data = data[4:] {
			a, p := span{uint32(data[0]), uint32(data[1])}, span{uint32(data[2]), uint32(data[3])}
			if a.first > a.last || p.first > p.last {
				return
			}
			boxes = append(boxes, box{a, p})
		}
		in := func(list []box, a, p uint32) (n int) {
			for _, b := range list {
				if b.addresses.first <= a && a <= b.addresses.last && b.ports.first <= p && p <= b.ports.last {
					n++
				}
			}
			return n
		}
		out := apart(boxes)
		for a := range uint32(256) {
			for p := uint32(0); p < 256; p += 3 {
				if was, is := in(boxes, a, p), in(out, a, p); is > 1 || (was > 0) != (is > 0) {
					t.Fatalf("%d, %d is in %d of %v and in %d of %v", a, p, was, boxes, is, out)
				}
			}
		}
	})
}
