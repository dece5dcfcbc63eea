package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
)

// OfFirewall is the elements of what a project's pods may not reach outside of the cluster:
// of the policies' rules the first that holds an address decides, and what none holds may
// be reached. With more than one policy nothing may (OpenShift 3, "EgressNetworkPolicy").
// lookup is the addresses that a name has now.
func OfFirewall(project string, policies []*networkv1.EgressNetworkPolicy, w World, lookup func(name string) []netip.Addr, id Number) Elements {
	denied := deniedBy(policies, lookup)
	if len(denied) == 0 {
		return nil
	}
	out := Elements{}
	g := grants{group: id(project + "/firewall"), out: out}
	for _, pod := range w.Peers[project] {
		if pod.Here && pod.Address.Is4() {
			out[Element{Firewalled, pod.Address.String()}] = ""
			out[Element{Firewalls, pod.Address.String()}] = fmt.Sprint(g.group)
		}
	}
	if len(out) == 0 {
		return nil
	}
	g.blocks = denied
	g.finish()
	return out
}

func deniedBy(policies []*networkv1.EgressNetworkPolicy, lookup func(string) []netip.Addr) []span {
	if len(policies) > 1 {
		return []span{everywhere}
	}
	var decided, denied []span
	for _, p := range policies {
		for _, r := range p.Spec.Egress {
			var here []span
			for _, prefix := range prefixesOf(r.To, lookup) {
				here = append(here, spanOf(prefix))
			}
			if r.Type == networkv1.EgressNetworkPolicyRuleDeny {
				denied = append(denied, without(here, decided)...)
			}
			decided = union(append(decided, here...))
		}
	}
	return union(denied)
}

func prefixesOf(to networkv1.EgressNetworkPolicyPeer, lookup func(string) []netip.Addr) []netip.Prefix {
	if to.DNSName == "" {
		p, err := netip.ParsePrefix(to.CIDRSelector)
		if err != nil || !p.Addr().Is4() {
			return nil
		}
		if p.IsSingleIP() && p.Addr().IsUnspecified() {
			// Written where 0.0.0.0/0 is meant, and taken so by OpenShift.
			p = netip.PrefixFrom(p.Addr(), 0)
		}
		return []netip.Prefix{p}
	}
	var out []netip.Prefix
	for _, a := range lookup(NameOf(to)) {
		if a.Is4() {
			out = append(out, netip.PrefixFrom(a, 32))
		}
	}
	return out
}

// NameOf is the name of a rule as it is asked for; empty: the rule has none.
func NameOf(to networkv1.EgressNetworkPolicyPeer) string {
	if to.DNSName == "" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(to.DNSName, ".")) + "."
}

// Names are those that the policies' rules name, each once.
func Names(policies []*networkv1.EgressNetworkPolicy) []string {
	var out []string
	for _, p := range policies {
		for _, r := range p.Spec.Egress {
			if n := NameOf(r.To); n != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}
