package rules

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The kernel's registers: regWide names 16 bytes, of which the reg32 registers are
// four each, so that a concatenated key is loaded piece by piece and looked up whole.
// regOther does not overlap with it.
const (
	regWide  = unix.NFT_REG_1
	reg1     = unix.NFT_REG32_01
	reg2     = unix.NFT_REG32_02
	reg3     = unix.NFT_REG32_03
	regOther = unix.NFT_REG_2
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
	return []expr.Any{
		network(offsetDestination, regWide),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		destinationPort(reg2),
	}
}

func lookupService() rule {
	return rule{"ip daddr . meta l4proto . th dport vmap @services", append(serviceKey(),
		&expr.Lookup{SourceRegister: regWide, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: string(Services)})}
}

// translate sends the connection to the endpoint with the index that drawn put into reg3.
func translate(drawn rule) rule {
	exprs := append(serviceKey(), drawn.exprs...)
	return rule{"dnat to ip daddr . meta l4proto . th dport . " + drawn.text + " map @endpoints", append(exprs,
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: string(Endpoints)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: regWide, RegProtoMin: reg1, Specified: true})}
}

func randomBelow(n uint32) rule {
	return rule{fmt.Sprintf("numgen random mod %d", n), []expr.Any{
		&expr.Numgen{Register: reg3, Modulus: n, Type: unix.NFT_NG_RANDOM},
	}}
}

// stickySeed makes the choice for a client the same on every node and after a restart.
const stickySeed = 0x51170a7

func sourceBelow(n uint32) rule {
	return rule{fmt.Sprintf("jhash ip saddr mod %d seed 0x%x", n, stickySeed), []expr.Any{
		network(offsetSource, regOther),
		&expr.Hash{SourceRegister: regOther, DestRegister: reg3, Length: 4, Modulus: n, Seed: stickySeed, Type: expr.HashTypeJenkins},
	}}
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
var icmpCodes = map[string]uint8{"port-unreachable": 3, "admin-prohibited": 13}

func refuse(why string) rule {
	return rule{"reject with icmp " + why, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpCodes[why]}}}
}
