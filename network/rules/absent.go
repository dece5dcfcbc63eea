package rules

import "github.com/google/nftables/expr"

// nobody answers what is for an address that no pod has, or has any more: whoever has a connection there
// shall not wait for it. A pod whose link is being put back keeps its connections.
func (f Frame) nobody() []rule {
	return []rule{
		join(toPod(), verdictOf("return", expr.VerdictReturn)),
		join(isProtocol("tcp"), resetTCP()),
		refuse("host-unreachable"),
	}
}

// toPod matches where the destination is a pod's address, here or on another node.
func toPod() rule {
	return rule{"ip daddr . ip daddr @hairpin", []expr.Any{
		network(offsetDestination, regWide),
		network(offsetDestination, reg1),
		&expr.Lookup{SourceRegister: regWide, SetName: string(Hairpin)},
	}}
}

// opensNothing matches packets of TCP without the flag SYN (RFC 9293).
func opensNothing() rule {
	const offsetFlags, flagSYN = 13, 2
	flags := rule{"tcp flags ! syn", []expr.Any{
		&expr.Payload{DestRegister: regWide, Base: expr.PayloadBaseTransportHeader, Offset: offsetFlags, Len: 1},
		&expr.Bitwise{SourceRegister: regWide, DestRegister: regWide, Len: 1, Mask: []byte{flagSYN}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: []byte{0}},
	}}
	return join(isProtocol("tcp"), flags)
}
