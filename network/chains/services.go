package chains

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"slipway.dev/slipway/network/rules"
)

// services are the chains that translate what is asked of services.
func (c *compiler) services() {
	c.fronts(rules.Services, "service")
	c.fronts(rules.Externals, "external")
	c.add("nat", "nodeports", "", c.ports(rules.NodePorts)...)
	node := "-m addrtype --dst-type LOCAL " + c.jump("nodeports")
	// Service addresses are for pods and for the node itself; outer ones are for everybody.
	asked := []string{fmt.Sprintf("-s %s %s", c.f.Cluster, c.jump("service")), c.jump("external"), node}
	if c.f.Overlay != "" {
		// Another node would take what comes by this one for the node's own.
		c.add("nat", "farports", "", c.ports(rules.FarPorts)...)
		asked = append(asked, c.each(rules.Peers, fmt.Sprintf("-s %s -d %%s %s", c.f.Cluster, c.jump("farports")))...)
	}
	c.add("nat", "asked", "PREROUTING", asked...)
	// What comes from a loopback address cannot leave the node.
	c.add("nat", "asks", "OUTPUT", c.jump("service"), c.jump("external"), "! -d 127.0.0.0/8 "+node)
	c.add("nat", "through", "", fmt.Sprintf("-d %s -j RETURN", c.f.Subnet), fmt.Sprintf("%s -j SNAT --to-source %s", translated, rules.Outside(c.f.Gateway)))
	var sources []string
	for _, e := range c.sets[rules.Hairpin] {
		if c.isHere(e.key[0]) {
			// No host takes a packet from outside that comes from its own address.
			sources = append(sources, fmt.Sprintf("-s %s -d %[1]s %s -j SNAT --to-source %s", e.key[0], translated, c.f.Gateway))
		}
	}
	// Answers of another node's pod come back by this node, where the connection was translated.
	c.add("nat", "sources", "POSTROUTING", append(sources, fmt.Sprintf("! -s %s -d %[1]s %s", c.f.Cluster, c.jump("through")))...)
}

// ports are the rules for ports of this node, or of others.
func (c *compiler) ports(set rules.Set) []string {
	var out []string
	for _, e := range c.sets[set] {
		at := rules.AnyAddress
		if strings.Contains(e.value, "far") {
			at = rules.FarAddress
		}
		out = append(out, c.way(at.String(), e.key[0], e.key[1], e.value)...)
	}
	return out
}

// fronts divides the addresses of a set by their first three bytes.
func (c *compiler) fronts(set rules.Set, name string) {
	parts := map[netip.Prefix][]string{}
	for _, e := range c.sets[set] {
		a, err := netip.ParseAddr(e.key[0])
		if err != nil {
			continue
		}
		p := netip.PrefixFrom(a, 24).Masked()
		parts[p] = append(parts[p], c.way(e.key[0], e.key[1], e.key[2], e.value)...)
	}
	var lines []string
	for _, p := range slices.SortedFunc(maps.Keys(parts), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }) {
		b := p.Addr().As4()
		part := fmt.Sprintf("%.3s-%d-%d-%d", name, b[0], b[1], b[2])
		c.add("nat", part, "", parts[p]...)
		lines = append(lines, fmt.Sprintf("-d %s %s", p, c.jump(part)))
	}
	c.add("nat", name, "", lines...)
}

// way is the rules that send what asks for a front to one of its endpoints.
func (c *compiler) way(address, protocol, port, verdict string) []string {
	front := fmt.Sprintf("-p %s -m %[1]s --dport %s", protocol, port)
	if address != rules.AnyAddress.String() && address != rules.FarAddress.String() {
		front = "-d " + address + " " + front
	}
	var targets []string
	for {
		key := fmt.Sprintf("%s . %s . %s . %d", address, protocol, port, len(targets))
		t, ok := c.all[rules.Element{Set: rules.Endpoints, Key: key}]
		if !ok {
			break
		}
		targets = append(targets, strings.Replace(t, " . ", ":", 1))
	}
	seconds, sticky := stickiness(verdict)
	var out []string
	if sticky {
		for _, t := range targets {
			out = append(out, fmt.Sprintf("%s -m recent --update --seconds %d --reap --name %s --rsource -j DNAT --to-destination %s", front, seconds, c.list(front, t), t))
		}
	}
	for i, t := range targets {
		line := front
		if left := len(targets) - i; left > 1 {
			line += fmt.Sprintf(" -m statistic --mode random --probability %.10f", 1/float64(left))
		}
		if sticky {
			line += " -m recent --set --name " + c.list(front, t) + " --rsource"
		}
		out = append(out, line+" -j DNAT --to-destination "+t)
	}
	return out
}

// stickiness reads session affinity from a verdict of package rules: goto [node|far]sticky-N-SECONDS.
func stickiness(verdict string) (seconds uint32, sticky bool) {
	_, numbers, sticky := strings.Cut(verdict, "sticky-")
	if !sticky {
		return 0, false
	}
	_, text, _ := strings.Cut(numbers, "-")
	_, err := fmt.Sscan(text, &seconds)
	return seconds, err == nil
}

// list is the name under which the clients of an endpoint are remembered.
func (c *compiler) list(front, target string) string {
	h := fnv.New64a()
	fmt.Fprint(h, front, target)
	return fmt.Sprintf("%s%016x", c.prefix, h.Sum64())
}
