package chains

import (
	"fmt"
	"strings"

	"slipway.dev/slipway/network/rules"
)

// policies are a chain for each group of pods that policies treat alike, and the chains that
// go there by the pod. Packets of open connections do not come here.
func (c *compiler) policies() {
	allowed := map[string][]string{} // by direction and group
	for _, side := range []struct{ word, ranges string }{{"-s", "--src-range"}, {"-d", "--dst-range"}} {
		put := func(e entry, line string) {
			key := side.word + e.key[0]
			allowed[key] = append(allowed[key], line)
		}
		for _, e := range c.sets[rules.GroupPeers] {
			put(e, fmt.Sprintf("%s %s", side.word, e.key[1]))
		}
		for _, e := range c.sets[rules.GroupPorts] {
			put(e, to(e.key[1], e.key[2]))
		}
		for _, e := range c.sets[rules.GroupWays] {
			put(e, fmt.Sprintf("%s %s %s", side.word, e.key[1], to(e.key[2], e.key[3])))
		}
		for _, e := range c.sets[rules.GroupBlocks] {
			put(e, within(side.ranges, e.key[1]))
		}
		for _, e := range c.sets[rules.GroupRanges] {
			put(e, to(e.key[2], e.key[3])+" "+within(side.ranges, e.key[1]))
		}
	}
	gateways := c.each(rules.Gateways, "-s %s -j RETURN")
	c.restrict("ingress", rules.GroupsIn, "-d", gateways, ends(allowed, "-s", "-j RETURN", prohibited))
	c.restrict("egress", rules.GroupsOut, "-s", nil, ends(allowed, "-d", "-j RETURN", prohibited))
	// For a project's firewall the same set holds what is denied.
	c.restrict("firewall", rules.Firewalls, "-s", nil, ends(allowed, "-d", prohibited, ""))
}

// ends completes what matches with what is done then, and for the rest.
func ends(matches map[string][]string, word, then, otherwise string) func(group string) []string {
	return func(group string) []string {
		var out []string
		for _, m := range matches[word+group] {
			out = append(out, m+" "+then)
		}
		if otherwise != "" {
			out = append(out, otherwise)
		}
		return out
	}
}

// restrict makes the groups' chains and the one that goes there by the pod's address.
func (c *compiler) restrict(name string, groups rules.Set, word string, first []string, lines func(group string) []string) {
	done := map[string]bool{}
	for _, e := range c.sets[groups] {
		if group := e.value; !done[group] {
			done[group] = true
			c.add("filter", "group-"+group, "", lines(group)...)
		}
		// A pod may always reach itself.
		first = append(first, fmt.Sprintf("-s %s -d %[1]s -j RETURN", e.key[0]), fmt.Sprintf("%s %s %s", word, e.key[0], c.jump("group-"+e.value)))
	}
	c.add("filter", name, "", first...)
}

// to matches a port, or a range of them.
func to(protocol, ports string) string {
	return fmt.Sprintf("-p %s -m %[1]s --dport %s", protocol, strings.Replace(ports, "-", ":", 1))
}

// within matches an address, or a range of them.
func within(word, addresses string) string {
	if !strings.Contains(addresses, "-") {
		addresses += "-" + addresses
	}
	return "-m iprange " + word + " " + addresses
}
