package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Frame is what the constant part of the table is made from.
type Frame struct {
	// Table is the name of the nft table, of family ip.
	Table string
	// Links is the prefix of the names of the pods' links on the node, e.g. "slipway-", and Bridge
	// the link that the subnet's addresses lead to that no pod has.
	Links, Bridge string
	// Cluster is the network of all pods, Subnet this node's part of it, Gateway the
	// node's own address in it, Service the network of service addresses.
	Cluster, Subnet, Service netip.Prefix
	Gateway                  netip.Addr
	// Flat lets every pod reach every other one whatever their projects are.
	Flat bool
	// Overlay is the name of the link to the other nodes' pods, a VXLAN of identifier VNI
	// over UDP port OverlayPort. Its name begins with Links. Empty: there is none.
	Overlay     string
	VNI         uint32
	OverlayPort uint16

	// epoch marks connections that isolate has let pass; see known.
	epoch uint32
}

// chain is one chain with its rules; hook is nil for a chain that is jumped to.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    []rule
}

// rule carries the text under which it is found again: the rule as nft writes it, kept as its comment.
type rule struct {
	text  string
	exprs []expr.Any
}

// String is the frame as nft writes it.
func (f Frame) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table ip %s\n", f.Table)
	for _, c := range f.chains() {
		fmt.Fprintf(&b, "chain %s", c.name)
		if c.hook != nil {
			fmt.Fprintf(&b, " (%s, hook %d, priority %d)", c.kind, *c.hook, *c.priority)
		}
		b.WriteByte('\n')
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t%s\n", r.text)
		}
	}
	return b.String()
}

// chains lists jumped-to chains before those that jump to them.
func (f Frame) chains() []chain {
	nat, filter := nftables.ChainTypeNAT, nftables.ChainTypeFilter
	toService, toExternal, toNodePort := lookupService(Services), lookupService(Externals), lookupNodePort()
	asked := []rule{
		// Service addresses are for pods and for the node itself. Whatever else comes by, such
		// as the container of a build on Docker's own bridge, is of no project.
		join(from(f.Cluster), toService),
		toExternal, toNodePort,
	}
	if f.Overlay != "" {
		// Another node would take what comes by this one for the node's own.
		asked = append(asked, join(from(f.Cluster), lookupFarPort()))
	}
	return append(append(append(f.overlay(), f.policies()...), f.known()...), []chain{
		{name: "nobody", rules: f.nobody()},
		{name: "isolate", rules: f.isolate()},
		{name: "host", rules: f.host()},
		// Every chain at a hook costs each packet: what is looked at early stands in one.
		{name: "early", kind: filter, hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityRaw, rules: append([]rule{
			// What does not come from the pod's own address. The kernel's reverse path filter does the
			// same, but is turned down by systemd on every link that appears.
			join(fromLink(f.Links), fromElsewhere(), verdictOf("drop", expr.VerdictDrop)),
		}, f.overlayEarly()...)},
		{name: "prerouting", kind: nat, hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityNATDest, rules: asked},
		{name: "nat-output", kind: nat, hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityNATDest, rules: []rule{
			// What comes from a loopback address cannot leave the node.
			toService, toExternal, join(notTo(loopback), toNodePort),
		}},
		{name: "postrouting", kind: nat, hook: nftables.ChainHookPostrouting, priority: nftables.ChainPriorityNATSource, rules: []rule{f.hairpin(), f.throughNode()}},
		{name: "input", kind: filter, hook: nftables.ChainHookInput, priority: nftables.ChainPriorityFilter, rules: append(append([]rule{
			join(fromLink(f.Links), goTo("host"))}, f.overlayInput()...),
			// The gateway serves the node's pods, not whoever finds a way to it.
			join(notFromLoopback(), to(netip.PrefixFrom(f.Gateway, 32)), isNew(), refuse("admin-prohibited")),
		)},
		{name: "forward", kind: filter, hook: nftables.ChainHookForward, priority: nftables.ChainPriorityFilter, rules: f.forward()},
		{name: "output", kind: filter, hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityFilter, rules: append(f.refuseService(),
			join(to(f.Subnet), notTo(netip.PrefixFrom(f.Gateway, 32)), jump("nobody")))},
	}...)
}

// refuseService answers what no endpoint took.
func (f Frame) refuseService() []rule {
	return []rule{
		join(to(f.Service), isProtocol("tcp"), resetTCP()),
		join(to(f.Service), refuse("port-unreachable")),
	}
}

// loopback addresses are of the machine itself (RFC 1122).
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// linkLocal addresses are of a machine's own link (RFC 3927).
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// forward keeps what every packet passes short: whether its connection is known to stay within
// projects' networks, which may change while it is open. Everything else is about packets that open one.
func (f Frame) forward() []rule {
	var out []rule
	if !f.Flat {
		if f.Overlay != "" {
			out = append(out, join(fromExactly(f.Overlay), to(f.Cluster), jump("arrived")))
		}
		out = append(out, jump(known), join(from(f.Cluster), to(f.Cluster), jump("isolate")))
	}
	if f.Bridge != "" {
		out = append(out, join(toLink(f.Bridge), to(f.Subnet), jump("nobody")))
	}
	out = append(out, join(isEstablished(), verdictOf("return", expr.VerdictReturn)))
	if f.Overlay != "" {
		// Another node's pods answer here whoever asked this node for them from outside, and do no more.
		out = append(out, join(fromExactly(f.Overlay), notTo(f.Cluster), refuse("admin-prohibited")))
		// Pods, containers and whoever else is forwarded by this node may not make up packets of
		// the overlay: they would have the node's address when they arrive.
		out = append(out, join(isProtocol("udp"), toPort(f.OverlayPort), peer(offsetDestination, false), refuse("admin-prohibited")))
	}
	out = append(out, f.refuseService()...)
	out = append(out, join(isRefused(), isProtocol("tcp"), resetTCP()), join(isRefused(), refuse("port-unreachable")))
	// Clouds tell a machine's own secrets at a link-local address: pods are not the machine.
	out = append(out, join(from(f.Cluster), to(linkLocal), refuse("admin-prohibited")))
	out = append(out, f.police()...)
	// What is not a pod reaches pods from the node itself only.
	return append(out, join(notFrom(f.Cluster), to(f.Subnet), isNew(), notTranslated(), refuse("admin-prohibited")))
}

// isolate lets a packet pass where both sides' virtual networks are equal or either is 0, the
// usual case first. The mark is used as a register: packets between pods are nobody else's.
func (f Frame) isolate() []rule {
	if f.Flat {
		return nil
	}
	return []rule{
		setMark(unknownNetid),
		markOfSource(),
		join(isMember(), goTo(trust)),
		join(isMark(0), goTo(trust)),
		setMark(0),
		join(isMember(), goTo(trust)),
		// Connections to a pod that has gone end. New ones are refused like those to strangers.
		join(opensNothing(), jump("nobody")),
		refuse("admin-prohibited"),
	}
}

// unknownNetid is a virtual network without members.
const unknownNetid = 0xffffffff

// host is what pods may ask of their node.
func (f Frame) host() []rule {
	gateway := netip.PrefixFrom(f.Gateway, 32)
	pass := verdictOf("return", expr.VerdictReturn)
	return []rule{
		join(isEstablished(), pass),
		join(to(gateway), isProtocol("udp"), toPort53(), pass),
		join(to(gateway), isProtocol("tcp"), toPort53(), pass),
		join(isProtocol("icmp"), pass),
		join(isProtocol("tcp"), toHostPort(), pass),
		join(isProtocol("tcp"), resetTCP()),
		refuse("admin-prohibited"),
	}
}

// hairpin gives a pod that reaches itself by a service another source address, because
// no host takes a packet from outside that comes from its own address.
func (f Frame) hairpin() rule {
	return join(isTranslated(), isHairpin(), sourceBecomes(f.Gateway))
}

// throughNode makes the answers of another node's pod come back by this node, where the
// connection from outside was translated. Pods of this node see who asks.
func (f Frame) throughNode() rule {
	return join(isTranslated(), notFrom(f.Cluster), to(f.Cluster), notTo(f.Subnet), sourceBecomes(Outside(f.Gateway)))
}

// spreading is the chain that a service's verdict names: spread-N, or sticky-N-SECONDS for
// session affinity, with "node" before it for ports of the node and "far" for those of others.
func spreading(name string) (chain, error) {
	kind, numbers, _ := strings.Cut(name, "-")
	var at netip.Addr
	for prefix, address := range map[string]netip.Addr{"node": AnyAddress, "far": FarAddress} {
		if rest, ok := strings.CutPrefix(kind, prefix); ok {
			kind, at = rest, address
		}
	}
	var n, seconds uint32
	switch {
	case kind == "spread" && scan(numbers, "%d", &n) && n > 0:
		return chain{name: name, rules: []rule{translate(at, n)}}, nil
	case kind == "sticky" && scan(numbers, "%d-%d", &n, &seconds) && n > 0 && seconds > 0:
		return chain{name: name, rules: translateSticky(at, n, seconds)}, nil
	}
	return chain{}, fmt.Errorf("chain %q: want spread-N or sticky-N-SECONDS", name)
}

// scan reads numbers from a text that holds nothing else.
func scan(text, format string, numbers ...*uint32) bool {
	var into, back []any
	for _, n := range numbers {
		into = append(into, n)
	}
	if _, err := fmt.Sscanf(text, format, into...); err != nil {
		return false
	}
	for _, n := range numbers {
		back = append(back, *n)
	}
	return fmt.Sprintf(format, back...) == text
}
