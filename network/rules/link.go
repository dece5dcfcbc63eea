package rules

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Link makes a port of a pod's loopback address lead to a service.
type Link struct {
	Protocol string
	Local    uint16
	To       netip.AddrPort
}

// linkTable is the name of the table in the pods' namespaces.
const linkTable = "slipway-links"

// LinkIn makes a pod's links exactly those given, in its network namespace. Packets from a
// loopback address leave by eth0 only with route_localnet; what comes in for one is
// dropped, as it was without.
func LinkIn(ns int, pod netip.Addr, links []Link) error {
	if err := LetLoopbackLeave(ns); err != nil {
		return err
	}
	c, err := nftables.New(nftables.WithNetNSFd(ns))
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: linkTable, Family: nftables.TableFamilyIPv4}
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	set := &nftables.Set{Table: t, Name: "links", IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(protocol, port), DataType: nftables.MustConcatSetType(address, port)}
	var elements []nftables.SetElement
	var seen []string
	for _, l := range links {
		key := fmt.Sprintf("%s . %d", l.Protocol, l.Local)
		if slices.Contains(seen, key) {
			continue
		}
		seen = append(seen, key)
		e := nftables.SetElement{}
		if e.Key, err = encode(key, fields(protocol, port)); err != nil {
			return err
		}
		if e.Val, err = encode(fmt.Sprintf("%s . %d", l.To.Addr(), l.To.Port()), fields(address, port)); err != nil {
			return err
		}
		elements = append(elements, e)
	}
	if err := c.AddSet(set, elements); err != nil {
		return err
	}
	k := &Kernel{frame: Frame{Table: linkTable}}
	for _, ch := range linkChains(pod) {
		k.addChain(c, ch)
	}
	return c.Flush()
}

func linkChains(pod netip.Addr) []chain {
	nat, filter := nftables.ChainTypeNAT, nftables.ChainTypeFilter
	a := pod.As4()
	toLoopback := to(netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32))
	follow := rule{"dnat to meta l4proto . th dport map @links", append(portKey(regWide, reg1),
		&expr.Lookup{SourceRegister: regWide, DestRegister: regWide, IsDestRegSet: true, SetName: "links"}, translation(regWide, reg1))}
	return []chain{
		{name: "output", kind: nat, hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityNATDest, rules: []rule{join(toLoopback, follow)}},
		{name: "postrouting", kind: nat, hook: nftables.ChainHookPostrouting, priority: nftables.ChainPriorityNATSource, rules: []rule{
			join(from(loopback), notTo(loopback), rule{"snat to " + pod.String(), []expr.Any{
				&expr.Immediate{Register: regWide, Data: a[:]},
				&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: regWide},
			}}),
		}},
		{name: "guard", kind: filter, hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityRaw, rules: []rule{
			join(notFromLoopback(), to(loopback), verdictOf("drop", expr.VerdictDrop)),
		}},
	}
}

// LetLoopbackLeave sets route_localnet of the namespace's eth0. Settings are those of the
// thread that writes them.
func LetLoopbackLeave(ns int) error {
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine.
		runtime.LockOSThread()
		if err := netns.Set(netns.NsHandle(ns)); err != nil {
			result <- err
			return
		}
		result <- os.WriteFile("/proc/sys/net/ipv4/conf/eth0/route_localnet", []byte("1"), 0o644)
	}()
	return <-result
}
