package rules

import "github.com/google/nftables/expr"

// pod is which address of a packet is that of the pod that is restricted, peer the other.
func (d direction) pod() (word string, offset uint32) {
	if d.chain == "ingress" {
		return "daddr", offsetDestination
	}
	return "saddr", offsetSource
}

func (d direction) peer() (word string, offset uint32) {
	if d.chain == "ingress" {
		return "saddr", offsetSource
	}
	return "daddr", offsetDestination
}

// policies are the chains for packets to and from pods that policies restrict, where they open
// a connection. What returns is allowed. The mark is used as a register, and left empty, by what opens a connection.
func (f Frame) policies() []chain {
	var out []chain
	pass := verdictOf("return", expr.VerdictReturn)
	for _, d := range directions {
		word, offset := d.peer()
		peer := func(register uint32) expr.Any { return network(offset, register) }
		ways := "ip " + word + " . meta l4proto . th dport"
		out = append(out, chain{name: d.chain + "-ways", rules: []rule{
			join(grouped(GroupPeers, "ip "+word, peer(reg1)), pass),
			join(grouped(GroupPorts, "meta l4proto . th dport", portKey(reg1, reg2)...), pass),
			join(grouped(GroupWays, ways, append([]expr.Any{peer(reg1)}, portKey(reg2, reg3)...)...), pass),
			join(grouped(GroupBlocks, "ip "+word, peer(reg1)), pass),
			join(grouped(GroupRanges, ways, append([]expr.Any{peer(reg1)}, portKey(reg2, reg3)...)...), pass),
			refuse("admin-prohibited"),
		}})
		rules := []rule{
			// A pod may always reach itself, and nodes the pods: they are what looks after them.
			join(isHairpin(), pass),
		}
		if d.chain == "ingress" {
			rules = append(rules, join(isSet(word, offset, Gateways), pass))
		}
		podWord, podOffset := d.pod()
		rules = append(rules, markOfGroup(podWord, podOffset, d.groups), jump(d.chain+"-ways"), setMark(0))
		out = append(out, chain{name: d.chain, rules: rules})
	}
	return append(out, chain{name: "firewall", rules: []rule{
		markOfGroup("saddr", offsetSource, Firewalls),
		join(grouped(GroupBlocks, "ip daddr", network(offsetDestination, reg1)), refuse("admin-prohibited")),
		setMark(0),
	}})
}

// police sends packets of restricted pods to those chains, and what a pod opens outside of
// the cluster to what its project may not reach there.
func (f Frame) police() []rule {
	var out []rule
	for _, d := range directions {
		word, offset := d.pod()
		out = append(out, policed(word, offset, d.policed))
	}
	return append(out, join(notTo(f.Cluster), isNew(), isSet("saddr", offsetSource, Firewalled), jump("firewall")))
}
