package rules

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The kernel's registers: regWide names 16 bytes, of which the reg32 registers are
// four each, so that a concatenated key is loaded piece by piece and looked up whole.
const (
	regWide = unix.NFT_REG_1
	reg1    = unix.NFT_REG32_01
	reg2    = unix.NFT_REG32_02
	reg3    = unix.NFT_REG32_03
	reg4    = unix.NFT_REG32_04
	reg5    = unix.NFT_REG32_05
)

// Offsets into the IPv4 header, and into the header of TCP, UDP and SCTP, in bytes.
const (
	offsetSource      = 12
	offsetDestination = 16
	offsetPort        = 2
)

func join(parts ...rule) rule {
	var out rule
	for i, p := range parts {
		if i > 0 {
			out.text += " "
		}
		out.text += p.text
		out.exprs = append(out.exprs, p.exprs...)
	}
	return out
}

func network(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

func destinationPort(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offsetPort, Len: 2}
}

func compareNet(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	a := p.Masked().Addr().As4()
	return []expr.Any{
		network(offset, regWide),
		&expr.Bitwise{SourceRegister: regWide, DestRegister: regWide, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: regWide, Data: a[:]},
	}
}

func from(p netip.Prefix) rule {
	return rule{"ip saddr " + prefixText(p), compareNet(offsetSource, expr.CmpOpEq, p)}
}

func notFrom(p netip.Prefix) rule {
	return rule{"ip saddr != " + prefixText(p), compareNet(offsetSource, expr.CmpOpNeq, p)}
}

func to(p netip.Prefix) rule {
	return rule{"ip daddr " + prefixText(p), compareNet(offsetDestination, expr.CmpOpEq, p)}
}

func notTo(p netip.Prefix) rule {
	return rule{"ip daddr != " + prefixText(p), compareNet(offsetDestination, expr.CmpOpNeq, p)}
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

func fromLink(prefix string) rule {
	return rule{"iifname " + prefix + "*", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: []byte(prefix)},
	}}
}

func notFromLoopback() rule {
	return rule{"iifname != lo", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regWide, Data: []byte("lo\x00")},
	}}
}

// fromElsewhere matches a source address to which the way is not the link it came by.
func fromElsewhere() rule {
	return rule{"fib saddr . iif oif missing", []expr.Any{
		&expr.Fib{Register: regWide, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: make([]byte, 4)},
	}}
}

func isProtocol(name string) rule {
	number := protocols[name]
	if name == "icmp" {
		number = unix.IPPROTO_ICMP
	}
	return rule{"meta l4proto " + name, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: []byte{number}},
	}}
}

func toPort53() rule {
	return rule{"th dport 53", []expr.Any{
		destinationPort(regWide),
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: []byte{0, 53}},
	}}
}

func toHostPort() rule {
	return rule{"th dport @hostports", []expr.Any{
		destinationPort(regWide),
		&expr.Lookup{SourceRegister: regWide, SetName: string(HostPorts)},
	}}
}

// conntrackBits matches if any of the bits is set, or with op Eq if none is.
func conntrackBits(key expr.CtKey, bits uint32, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: regWide},
		&expr.Bitwise{SourceRegister: regWide, DestRegister: regWide, Len: 4, Mask: native(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: regWide, Data: make([]byte, 4)},
	}
}

// statusDestinationNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const statusDestinationNAT = 1 << 5

func isTranslated() rule {
	return rule{"ct status dnat", conntrackBits(expr.CtKeySTATUS, statusDestinationNAT, expr.CmpOpNeq)}
}

func notTranslated() rule {
	return rule{"ct status ! dnat", conntrackBits(expr.CtKeySTATUS, statusDestinationNAT, expr.CmpOpEq)}
}

func isNew() rule {
	return rule{"ct state new", conntrackBits(expr.CtKeySTATE, expr.CtStateBitNEW, expr.CmpOpNeq)}
}

func isEstablished() rule {
	return rule{"ct state established,related", conntrackBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED, expr.CmpOpNeq)}
}

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func setMark(n uint32) rule {
	return rule{fmt.Sprintf("meta mark set %d", n), []expr.Any{
		&expr.Immediate{Register: regWide, Data: native(n)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

func markOfSource() rule {
	return rule{"meta mark set ip saddr map @netids", []expr.Any{
		network(offsetSource, regWide),
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(Netids)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

func isMark(n uint32) rule {
	return rule{fmt.Sprintf("meta mark %d", n), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: native(n)},
	}}
}

func notMark(n uint32) rule {
	return rule{fmt.Sprintf("meta mark != %d", n), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regWide, Data: native(n)},
	}}
}

func isMember() rule {
	return rule{"ip daddr . meta mark @members", []expr.Any{
		network(offsetDestination, regWide),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Lookup{SourceRegister: regWide, SetName: string(Members)},
	}}
}

func isHairpin() rule {
	return rule{"ip saddr . ip daddr @hairpin", []expr.Any{
		network(offsetSource, regWide),
		network(offsetDestination, reg1),
		&expr.Lookup{SourceRegister: regWide, SetName: string(Hairpin)},
	}}
}

func sourceBecomes(a netip.Addr) rule {
	b := a.As4()
	return rule{"snat to " + a.String(), []expr.Any{
		&expr.Immediate{Register: regWide, Data: b[:]},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: regWide},
	}}
}

// serviceKey loads address . protocol . port of what is asked for.
func serviceKey() []expr.Any {
	return append([]expr.Any{network(offsetDestination, regWide)}, portKey(reg1, reg2)...)
}

// portKey loads protocol . port of what is asked for.
func portKey(first, second uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first}, destinationPort(second)}
}

func verdictFrom(set Set) expr.Any {
	return &expr.Lookup{SourceRegister: regWide, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: string(set)}
}

// lookupService goes where the set says for the address, protocol and port asked for.
func lookupService(set Set) rule {
	return rule{"ip daddr . meta l4proto . th dport vmap @" + string(set), append(serviceKey(), verdictFrom(set))}
}

// lookupNodePort is the same for ports of all of the node's own addresses.
func lookupNodePort() rule {
	own := []expr.Any{
		&expr.Fib{Register: regWide, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: native(unix.RTN_LOCAL)},
	}
	exprs := append(append(own, portKey(regWide, reg1)...), verdictFrom(NodePorts))
	return rule{"fib daddr type local meta l4proto . th dport vmap @nodeports", exprs}
}

// lookupFarPort is the same for ports of the other nodes' addresses.
func lookupFarPort() rule {
	others := peer(offsetDestination, false)
	exprs := append(append(others.exprs, portKey(regWide, reg1)...), verdictFrom(FarPorts))
	return rule{others.text + " meta l4proto . th dport vmap @farports", exprs}
}

func isRefused() rule {
	return rule{"ip daddr . meta l4proto . th dport @refused", append(serviceKey(), &expr.Lookup{SourceRegister: regWide, SetName: string(Refused)})}
}

// front is how a service is asked for: at an address that stands for nodes, or if that is
// none at the packet's destination.
func front(at netip.Addr, register uint32) (string, expr.Any) {
	if at.IsValid() {
		return at.String(), &expr.Immediate{Register: register, Data: at.AsSlice()}
	}
	return "ip daddr", network(offsetDestination, register)
}

// translate sends the connection to an endpoint that is drawn from n.
func translate(at netip.Addr, n uint32) rule {
	text, load := front(at, regWide)
	exprs := append([]expr.Any{load}, portKey(reg1, reg2)...)
	return rule{fmt.Sprintf("dnat to %s . meta l4proto . th dport . numgen random mod %d map @endpoints", text, n), append(exprs,
		&expr.Numgen{Register: reg3, Modulus: n, Type: unix.NFT_NG_RANDOM},
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(Endpoints)},
		translation(regWide, reg1))}
}

func translation(address, port uint32) expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: address, RegProtoMin: port, Specified: true}
}

// clientKey loads client . address . protocol . port of what is asked for.
func clientKey(at netip.Addr) (string, []expr.Any) {
	text, load := front(at, reg1)
	return "ip saddr . " + text + " . meta l4proto . th dport", append([]expr.Any{network(offsetSource, regWide), load}, portKey(reg2, reg3)...)
}

// dynsetDelete is NFT_DYNSET_OP_DELETE of linux/netfilter/nf_tables.h.
const dynsetDelete = 2

// noIndex marks a client that has no endpoint.
const noIndex = 0xffffffff

// recall puts the index of the client's endpoint into the mark. What nft reads is written with
// marks: it cannot read a key that is made of what another map holds.
func recall(at netip.Addr) rule {
	text, exprs := clientKey(at)
	return rule{"meta mark set " + text + " map @affinity", append(exprs,
		&expr.Lookup{SourceRegister: regWide, DestRegister: reg4, IsDestRegSet: true, SetName: string(Affinity)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg4})}
}

// draw puts one of n indices into the mark.
func draw(n uint32) rule {
	return rule{fmt.Sprintf("meta mark set numgen random mod %d", n), []expr.Any{
		&expr.Numgen{Register: regWide, Modulus: n, Type: unix.NFT_NG_RANDOM},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

// note keeps the mark for the client, for so long; deletion goes first where the entry may
// hold another index, which an update would leave.
func note(at netip.Addr, operation, seconds uint32) rule {
	text, exprs := clientKey(at)
	word := map[uint32]string{unix.NFT_DYNSET_OP_UPDATE: "update", dynsetDelete: "delete"}[operation]
	return rule{fmt.Sprintf("%s @affinity { %s : meta mark } %ds", word, text, seconds), append(exprs,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg4},
		&expr.Dynset{SrcRegKey: regWide, SrcRegData: reg4, SetName: string(Affinity), Operation: operation, Timeout: time.Duration(seconds) * time.Second})}
}

// translateMarked sends the connection to the endpoint of the index in the mark.
func translateMarked(at netip.Addr) rule {
	text, load := front(at, regWide)
	exprs := append([]expr.Any{load}, portKey(reg1, reg2)...)
	return rule{"dnat to " + text + " . meta l4proto . th dport . meta mark map @endpoints", append(exprs,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg3},
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(Endpoints)},
		translation(regWide, reg1))}
}

// translateSticky sends a client to the endpoint that it had, or to a drawn one.
func translateSticky(at netip.Addr, n, seconds uint32) []rule {
	return []rule{
		setMark(noIndex),
		recall(at),
		join(notMark(noIndex), note(at, unix.NFT_DYNSET_OP_UPDATE, seconds)),
		translateMarked(at),
		draw(n),
		note(at, dynsetDelete, seconds),
		// Where there are more clients than the kernel shall remember, the rule ends here.
		note(at, unix.NFT_DYNSET_OP_UPDATE, seconds),
		translateMarked(at),
	}
}

// policed goes to the chain for packets from or to pods that policies restrict.
func policed(word string, offset uint32, set Set) rule {
	return rule{"ip " + word + " vmap @" + string(set), []expr.Any{
		network(offset, regWide),
		&expr.Lookup{SourceRegister: regWide, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: string(set)},
	}}
}

// markOfGroup puts the group of the pod into the mark.
func markOfGroup(word string, offset uint32, groups Set) rule {
	return rule{fmt.Sprintf("meta mark set ip %s map @%s", word, groups), []expr.Any{
		network(offset, regWide),
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(groups)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

// grouped matches where set holds the group in the mark, and with it what load loads behind it.
func grouped(set Set, text string, load ...expr.Any) rule {
	exprs := append([]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: regWide}}, load...)
	return rule{fmt.Sprintf("meta mark . %s @%s", text, set), append(exprs, &expr.Lookup{SourceRegister: regWide, SetName: string(set)})}
}

// isSet matches an address that a set holds.
func isSet(word string, offset uint32, set Set) rule {
	return rule{"ip " + word + " @" + string(set), []expr.Any{network(offset, regWide), &expr.Lookup{SourceRegister: regWide, SetName: string(set)}}}
}

func jump(chain string) rule {
	return rule{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

// goTo ends in the other chain: what returns from there is taken.
func goTo(chain string) rule {
	return rule{"goto " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}

func verdictOf(name string, kind expr.VerdictKind) rule {
	return rule{name, []expr.Any{&expr.Verdict{Kind: kind}}}
}

func resetTCP() rule {
	return rule{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

// icmpCodes are the codes of ICMP "destination unreachable".
var icmpCodes = map[string]uint8{"host-unreachable": 1, "port-unreachable": 3, "admin-prohibited": 13}

func refuse(why string) rule {
	return rule{"reject with icmp " + why, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpCodes[why]}}}
}
