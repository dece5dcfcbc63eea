package rules

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Between nodes a packet carries the virtual network of its sender, written by the
// sender's own node, which alone knows for sure who has the address now. It travels in the
// VXLAN header's group policy field (draft-smith-vxlan-group-policy), which Linux takes from
// and gives to the packet's mark. The receiving node, which knows its own pods for sure,
// compares: so a packet never crosses projects, however old the one node's knowledge of the other's
// pods is. What the nodes know of each other's addresses is compared besides.

// FirstOwn is the first of the virtual network ids that a node gives by itself, to projects
// that have none yet. It is above all that projects can have.
const FirstOwn = 1 << 31

// unknownGroup is carried by what no project is known for: only global projects admit it.
const unknownGroup = 0xffff

// carried is the number that stands for a virtual network in the 16 bits that there are;
// two networks may share one, and then only their addresses tell them apart.
func carried(netid uint32) uint32 {
	switch {
	case netid >= FirstOwn:
		return unknownGroup
	case netid < unknownGroup:
		return netid
	}
	return 1 + netid%(unknownGroup-1)
}

// Outside is the address by which a node, whose gateway is known, lets those in from outside who asked for a
// pod of another node: the one before, the first of the subnet, which nobody has. It is not the gateway, because
// policies let in whatever comes from nodes themselves.
func Outside(gateway netip.Addr) netip.Addr { return gateway.Prev() }

// OfHost is the elements of another node, or with own of this one: its gateway is where its
// processes speak from, which belong to no project, as those outside do. An invalid address is not known yet.
func OfHost(gateway, address netip.Addr, own bool) Elements {
	out := ofAddress(gateway, 0)
	maps.Copy(out, ofAddress(Outside(gateway), 0))
	out[Element{Gateways, gateway.String()}] = ""
	if address.Is4() && !own {
		out[Element{Peers, address.String()}] = ""
	}
	return out
}

// ofAddress says in which virtual network an address is, here and on the way to other nodes.
func ofAddress(a netip.Addr, netid uint32) Elements {
	out := Elements{
		{Netids, a.String()}:                        fmt.Sprint(netid),
		{Members, fmt.Sprintf("%s . %d", a, netid)}: "",
		{Carries, a.String()}:                       fmt.Sprint(carried(netid)),
	}
	if n := carried(netid); n != unknownGroup {
		out[Element{Admits, fmt.Sprintf("%s . %d", a, n)}] = ""
	}
	return out
}

// overlay is the chains for what comes from and goes to other nodes.
func (f Frame) overlay() []chain {
	if f.Overlay == "" {
		return nil
	}
	kind, pass := nftables.ChainTypeFilter, verdictOf("return", expr.VerdictReturn)
	out := []chain{
		{name: "overlay-leaves", kind: kind, hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityRaw, rules: []rule{
			join(isProtocol("udp"), toPort(f.OverlayPort), peer(offsetDestination, false), untracked()),
		}},
	}
	if !f.Flat {
		out = append(out,
			chain{name: "arrived", rules: []rule{join(isMark(0), pass), join(admits(), pass), join(admitsAll(), pass), refuse("admin-prohibited")}},
			// After the translation of sources, so that what a node speaks for is its own.
			chain{name: "carry", kind: kind, hook: nftables.ChainHookPostrouting, priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource + 50), rules: []rule{
				join(toLink(f.Overlay), setMark(unknownGroup), markToCarry()),
			}})
	}
	return out
}

// overlayEarly lets nothing be decided by the connections of what carries pods' packets: they are not looked up.
func (f Frame) overlayEarly() []rule {
	if f.Overlay == "" {
		return nil
	}
	return []rule{join(isProtocol("udp"), toPort(f.OverlayPort), peer(offsetSource, false), untracked())}
}

// OfOverlay is the elements of a node that has an overlay, at that port of UDP. One without takes no packets of
// it, and leaves those alone that are for another instance on the host.
func OfOverlay(port uint16) Elements { return Elements{{Overlays, fmt.Sprint(port)}: ""} }

// overlayInput drops what claims to be of our overlay, if there is one, but comes from none of the nodes.
func (f Frame) overlayInput() []rule {
	if f.Overlay == "" {
		return nil
	}
	return []rule{
		join(isProtocol("udp"), toPort(f.OverlayPort), peer(offsetSource, false), verdictOf("accept", expr.VerdictAccept)),
		join(f.isOurs(), verdictOf("drop", expr.VerdictDrop)),
	}
}

// isOurs matches VXLAN packets of our identifier: port and, in the header behind UDP's (RFC 7348), the VNI.
func (f Frame) isOurs() rule {
	const offsetVNI = 8 + 4
	vni := binary.BigEndian.AppendUint32(nil, f.VNI)[1:]
	return join(isProtocol("udp"), rule{"th dport @overlays", []expr.Any{
		destinationPort(regWide),
		&expr.Lookup{SourceRegister: regWide, SetName: string(Overlays)},
	}}, rule{fmt.Sprintf("vxlan vni %d", f.VNI), []expr.Any{
		&expr.Payload{DestRegister: regWide, Base: expr.PayloadBaseTransportHeader, Offset: offsetVNI, Len: 3},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: vni},
	}})
}

func toPort(n uint16) rule {
	return rule{fmt.Sprintf("th dport %d", n), []expr.Any{
		destinationPort(regWide),
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: binary.BigEndian.AppendUint16(nil, n)},
	}}
}

func untracked() rule { return rule{"notrack", []expr.Any{&expr.Notrack{}}} }

func peer(offset uint32, not bool) rule {
	text := map[uint32]string{offsetSource: "ip saddr", offsetDestination: "ip daddr"}[offset]
	if not {
		text += " !="
	}
	return rule{text + " @peers", []expr.Any{
		network(offset, regWide),
		&expr.Lookup{SourceRegister: regWide, SetName: string(Peers), Invert: not},
	}}
}

func linkIs(key expr.MetaKey, word, name string) rule {
	return rule{word + " " + name, []expr.Any{
		&expr.Meta{Key: key, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: []byte(name + "\x00")},
	}}
}

func fromExactly(link string) rule { return linkIs(expr.MetaKeyIIFNAME, "iifname", link) }
func toLink(link string) rule      { return linkIs(expr.MetaKeyOIFNAME, "oifname", link) }

func markToCarry() rule {
	return rule{"meta mark set ip saddr map @carries", []expr.Any{
		network(offsetSource, regWide),
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(Carries)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

// admitsAll matches where the destination is of a global project.
func admitsAll() rule {
	return rule{"ip daddr . 0 @admits", []expr.Any{
		network(offsetDestination, regWide),
		&expr.Immediate{Register: reg1, Data: native(0)},
		&expr.Lookup{SourceRegister: regWide, SetName: string(Admits)},
	}}
}

// admits matches where the destination is of the virtual network that the packet carries.
func admits() rule {
	return rule{"ip daddr . meta mark & 0xffff @admits", []expr.Any{
		network(offsetDestination, regWide),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(groupMask), Xor: make([]byte, 4)},
		&expr.Lookup{SourceRegister: regWide, SetName: string(Admits)},
	}}
}

// groupMask is VXLAN_GBP_ID_MASK of linux/include/net/vxlan.h: the bits of a mark that are carried.
const groupMask = 0xffff
