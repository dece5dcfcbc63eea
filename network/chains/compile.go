package chains

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"slipway.dev/slipway/network/rules"
)

// Ruleset is our chains, by the iptables table that holds them.
type Ruleset map[string][]Chain

// Chain is a chain of ours. Packets come from the builtin chain, if one is named.
type Chain struct {
	Name, Builtin string
	Rules         []string
}

// tables in the order in which they are written: what refuses comes before what translates.
var tables = []string{"filter", "raw", "mangle", "nat"}

// String is the ruleset as iptables-restore reads it, without the jumps from builtin chains.
func (r Ruleset) String() string {
	var b strings.Builder
	for _, t := range tables {
		if len(r[t]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t)
		for _, c := range r[t] {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c.Name)
		}
		for _, c := range r[t] {
			if c.Builtin != "" {
				fmt.Fprintf(&b, "# %s goes to %s\n", c.Builtin, c.Name)
			}
			for _, line := range c.Rules {
				fmt.Fprintf(&b, "-A %s %s\n", c.Name, line)
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// How what may not pass is answered.
const (
	resetTCP   = "-p tcp -j REJECT --reject-with tcp-reset"
	prohibited = "-j REJECT --reject-with icmp-admin-prohibited"
	unreached  = "-j REJECT --reject-with icmp-port-unreachable"
	absent     = "-j REJECT --reject-with icmp-host-unreachable"
	translated = "-m conntrack --ctstate DNAT"
	opened     = "-m conntrack --ctstate RELATED,ESTABLISHED"
)

// entry is an element of a set: the fields of its key, and what it holds.
type entry struct {
	key   []string
	value string
}

type compiler struct {
	f      rules.Frame
	prefix string
	all    rules.Elements
	sets   map[rules.Set][]entry
	out    Ruleset
}

// prefixOf begins the names of an instance's chains.
func prefixOf(table string) string { return strings.ToUpper(table) + "-" }

// Compile is the whole of what iptables shall hold of an instance.
func Compile(f rules.Frame, e rules.Elements) Ruleset {
	c := compiler{f: f, prefix: prefixOf(f.Table), all: e, sets: map[rules.Set][]entry{}, out: Ruleset{}}
	for el, value := range e {
		c.sets[el.Set] = append(c.sets[el.Set], entry{strings.Split(el.Key, " . "), value})
	}
	for _, list := range c.sets {
		slices.SortFunc(list, func(a, b entry) int { return slices.Compare(a.key, b.key) })
	}
	c.services()
	c.nobody()
	c.isolation()
	c.policies()
	c.guards()
	return c.out
}

func (c *compiler) add(table, name, builtin string, lines ...string) {
	c.out[table] = append(c.out[table], Chain{Name: c.prefix + name, Builtin: builtin, Rules: lines})
}

func (c *compiler) jump(name string) string { return "-j " + c.prefix + name }
func (c *compiler) goTo(name string) string { return "-g " + c.prefix + name }

// isHere says whether an address is one of this node's pods'.
func (c *compiler) isHere(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && c.f.Subnet.Contains(a)
}

// guards are the chains that builtin ones go to first.
func (c *compiler) guards() {
	links := c.f.Links + "+"
	refuse := []string{fmt.Sprintf("-d %s %s", c.f.Service, resetTCP), fmt.Sprintf("-d %s %s", c.f.Service, unreached)}
	// What every packet passes comes first; what follows is about those that open a connection.
	var guard []string
	if !c.f.Flat && c.f.Overlay != "" {
		guard = append(guard, fmt.Sprintf("-i %s -d %s %s", c.f.Overlay, c.f.Cluster, c.jump("arrived")))
	}
	if !c.f.Flat {
		guard = append(guard, fmt.Sprintf("-s %s -d %[1]s %s", c.f.Cluster, c.jump("isolate")))
	}
	nobody := fmt.Sprintf("-d %s -o %s %s", c.f.Subnet, c.f.Bridge, c.jump("nobody"))
	if c.f.Bridge != "" {
		guard = append(guard, nobody)
	}
	guard = append(guard, opened+" -j RETURN")
	if c.f.Overlay != "" {
		// Another node's pods answer here whoever asked this node for them from outside, and do no more.
		guard = append(guard, fmt.Sprintf("-i %s ! -d %s %s", c.f.Overlay, c.f.Cluster, prohibited))
		c.add("filter", "peers", "", c.each(rules.Peers, "-s %s -j RETURN", "-j DROP")...)
		// Pods and whoever else is forwarded by this node may not make up packets of the overlay.
		for _, e := range c.sets[rules.Peers] {
			guard = append(guard, fmt.Sprintf("-d %s -p udp -m udp --dport %d %s", e.key[0], c.f.OverlayPort, prohibited))
		}
	}
	guard = append(guard, refuse...)
	for _, e := range c.sets[rules.Refused] {
		if e.key[1] == "tcp" {
			guard = append(guard, fmt.Sprintf("-d %s -p tcp -m tcp --dport %s -j REJECT --reject-with tcp-reset", e.key[0], e.key[2]))
		} else {
			guard = append(guard, fmt.Sprintf("-d %s -p %s -m %[2]s --dport %s %s", e.key[0], e.key[1], e.key[2], unreached))
		}
	}
	c.add("filter", "guard", "FORWARD", append(guard,
		// Clouds tell a machine's own secrets at a link-local address: pods are not the machine.
		fmt.Sprintf("-s %s -d 169.254.0.0/16 %s", c.f.Cluster, prohibited),
		c.jump("ingress"), c.jump("egress"),
		fmt.Sprintf("! -d %s %s", c.f.Cluster, c.jump("firewall")),
		// What is not a pod reaches pods from the node itself only.
		fmt.Sprintf("! -s %s -d %s -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT %s", c.f.Cluster, c.f.Subnet, prohibited))...)
	host := []string{opened + " -j RETURN",
		fmt.Sprintf("-d %s -p udp -m udp --dport 53 -j RETURN", c.f.Gateway),
		fmt.Sprintf("-d %s -p tcp -m tcp --dport 53 -j RETURN", c.f.Gateway),
		"-p icmp -j RETURN"}
	host = append(host, c.each(rules.HostPorts, "-p tcp -m tcp --dport %s -j RETURN", resetTCP, prohibited)...)
	c.add("filter", "host", "", host...)
	var input []string
	if c.f.Overlay != "" && len(c.sets[rules.Overlays]) > 0 {
		// The VNI of RFC 7348 lies behind the headers of IPv4, whose length is its own to say, and UDP.
		input = append(input, fmt.Sprintf(`-p udp -m udp --dport %d -m u32 --u32 "0x0>>0x16&0x3c@0xc>>0x8=%#x" %s`, c.f.OverlayPort, c.f.VNI, c.jump("peers")))
	}
	c.add("filter", "input", "INPUT", append(input,
		fmt.Sprintf("-i %s %s", links, c.goTo("host")),
		fmt.Sprintf("! -i lo -d %s -m conntrack --ctstate NEW %s", c.f.Gateway, prohibited))...)
	if c.f.Bridge != "" {
		// Translated packets are seen with the link that they would have left by before.
		refuse = append(refuse, nobody, fmt.Sprintf("-d %s -o lo %s", c.f.Subnet, c.jump("nobody")))
	}
	c.add("filter", "output", "OUTPUT", refuse...)
	c.add("raw", "spoofing", "PREROUTING", fmt.Sprintf("-i %s -m rpfilter --invert -j DROP", links))
}

// nobody answers at once what is for an address that no pod has, or has any more. This node's
// pods come first: few packets go on.
func (c *compiler) nobody() {
	var near, far []string
	for _, e := range c.sets[rules.Hairpin] {
		line := fmt.Sprintf("-d %s -j RETURN", e.key[0])
		if c.isHere(e.key[0]) {
			near = append(near, line)
		} else {
			far = append(far, line)
		}
	}
	far = append(far, fmt.Sprintf("-d %s -j RETURN", c.f.Gateway), resetTCP, absent)
	c.add("filter", "nobody", "", append(near, far...)...)
}

// each is a rule for each element of a set, and what follows them.
func (c *compiler) each(set rules.Set, format string, after ...string) []string {
	var out []string
	for _, e := range c.sets[set] {
		out = append(out, fmt.Sprintf(format, e.key[0]))
	}
	return append(out, after...)
}

// isolation lets a packet between pods pass where either side's virtual network is 0 or both
// are equal. One side is always a pod of this node.
func (c *compiler) isolation() {
	if c.f.Flat {
		return
	}
	members := map[string][]string{}
	var leaving, entering []string
	for _, e := range c.sets[rules.Netids] {
		address, id := e.key[0], e.value
		members[id] = append(members[id], address)
		switch {
		case !c.isHere(address):
		case id == "0":
			leaving = append(leaving, fmt.Sprintf("-s %s -j RETURN", address))
			entering = append(entering, fmt.Sprintf("-d %s -j RETURN", address))
		default:
			leaving = append(leaving, fmt.Sprintf("-s %s %s", address, c.goTo("into-"+id)))
			entering = append(entering, fmt.Sprintf("-d %s %s", address, c.goTo("from-"+id)))
		}
	}
	// An address of which nothing is known reaches what is global, and is reached from there.
	for _, way := range []struct{ name, word string }{{"into-", "-d"}, {"from-", "-s"}} {
		for _, id := range slices.Sorted(maps.Keys(members)) {
			if id != "0" {
				c.add("filter", way.name+id, "", append(returning(way.word, members[id]), c.goTo(way.name+"0"))...)
			}
		}
		// Connections to a pod that has gone end. New ones are refused like those to strangers.
		c.add("filter", way.name+"0", "", append(returning(way.word, members["0"]), "-p tcp -m tcp ! --syn "+c.jump("nobody"), prohibited)...)
	}
	c.add("filter", "leaving", "", append(leaving, c.goTo("into-0"))...)
	c.add("filter", "entering", "", append(entering, c.goTo("from-0"))...)
	c.add("filter", "isolate", "",
		fmt.Sprintf("! -s %s ! -d %[1]s %s", c.f.Subnet, prohibited),
		fmt.Sprintf("-s %s %s", c.f.Subnet, c.jump("leaving")),
		fmt.Sprintf("-d %s %s", c.f.Subnet, c.jump("entering")))
	if c.f.Overlay != "" {
		c.carrying()
	}
}

func returning(word string, addresses []string) []string {
	var out []string
	for _, a := range addresses {
		out = append(out, fmt.Sprintf("%s %s -j RETURN", word, a))
	}
	return out
}

// carrying is what packets between nodes tell of their sender's virtual network, and what
// this node's pods take. See package rules on what it is good for.
func (c *compiler) carrying() {
	arrived := []string{"-m mark --mark 0x0 -j RETURN"}
	for _, e := range c.sets[rules.Admits] {
		switch {
		case !c.isHere(e.key[0]):
		case e.key[1] == "0":
			arrived = append(arrived, fmt.Sprintf("-d %s -j RETURN", e.key[0]))
		default:
			arrived = append(arrived, fmt.Sprintf("-d %s -m mark --mark %s/0xffff -j RETURN", e.key[0], e.key[1]))
		}
	}
	c.add("filter", "arrived", "", append(arrived, prohibited)...)
	carry := []string{fmt.Sprintf("! -o %s -j RETURN", c.f.Overlay), "-j MARK --set-xmark 0xffff/0xffffffff",
		// This comes before sources are translated: what the node will speak for itself is its own.
		fmt.Sprintf("! -s %s %s -j MARK --set-xmark 0x0/0xffffffff", c.f.Cluster, translated)}
	for _, e := range c.sets[rules.Carries] {
		if c.isHere(e.key[0]) {
			carry = append(carry, fmt.Sprintf("-s %s -j MARK --set-xmark %s/0xffffffff", e.key[0], e.value))
		}
	}
	c.add("mangle", "carry", "POSTROUTING", carry...)
}
