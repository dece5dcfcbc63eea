package rules

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// A connection that isolate has let pass is marked with the epoch, and further packets of it
// are not looked up while the epoch lasts. It ends, in the same transaction, with every
// change by which something may become forbidden: an address leaves its virtual network. So
// an open connection is cut by the first packet that comes after the change, as if each were looked up.

// The chains that hold the epoch.
const (
	known = "known"
	trust = "trust"
)

func (f Frame) known() []chain {
	if f.Flat {
		return nil
	}
	return []chain{
		{name: known, rules: []rule{join(isConnectionMark(f.epoch), isEstablished(), verdictOf("accept", expr.VerdictAccept))}},
		{name: trust, rules: []rule{markConnection(f.epoch)}},
	}
}

func isConnectionMark(n uint32) rule {
	return rule{fmt.Sprintf("ct mark %d", n), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: regWide},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regWide, Data: native(n)},
	}}
}

const markConnectionText = "ct mark set %d"

func markConnection(n uint32) rule {
	return rule{fmt.Sprintf(markConnectionText, n), []expr.Any{
		&expr.Immediate{Register: regWide, Data: native(n)},
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: regWide},
	}}
}

// newEpoch is one that no connection is marked with, as far as can be told. It is never 0,
// which is what connections are marked with that nobody marks.
func newEpoch() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // It never fails (package documentation).
	return max(binary.NativeEndian.Uint32(b[:]), 1)
}

// revokes says whether something may become forbidden by a change of the element.
func revokes(e Element, had bool) bool {
	return had && (e.Set == Netids || e.Set == Members)
}

// endEpoch queues the next epoch. After an error of the transaction what the kernel holds is
// unknown, and read.
func (k *Kernel) endEpoch(c *nftables.Conn) {
	k.frame.epoch = max(k.frame.epoch+1, 1)
	for _, ch := range k.frame.known() {
		c.FlushChain(&nftables.Chain{Name: ch.name, Table: k.table()})
		k.addRules(c, ch)
	}
}

// readEpoch takes the epoch over that the kernel has.
func (k *Kernel) readEpoch(c *nftables.Conn) error {
	got, err := c.GetRules(k.table(), &nftables.Chain{Name: trust, Table: k.table()})
	if err != nil || len(got) != 1 {
		return err
	}
	var epoch uint32
	if text, _ := userdata.GetString(got[0].UserData, userdata.TypeComment); scan(text, markConnectionText, &epoch) && epoch > 0 {
		k.frame.epoch = epoch
	}
	return nil
}
