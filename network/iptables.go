package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// hostChain is a chain of ours and the builtin chain from which it is jumped to.
type hostChain struct {
	table, builtin, name string
	rules                []string
}

// hostChains lets pods' traffic through a host whose policies drop it, and masquerades
// what leaves the cluster. What goes to Docker's own bridges is left to Docker's rules.
func hostChains(name, links string, cluster, subnet netip.Prefix) []hostChain {
	prefix := strings.ToUpper(name) + "-"
	return []hostChain{
		{"filter", "FORWARD", prefix + "FORWARD", []string{
			// What is between pods first: there is most of it.
			fmt.Sprintf("-s %s -d %s -j ACCEPT", subnet, cluster),
			fmt.Sprintf("-s %s -d %s -j ACCEPT", cluster, subnet),
			fmt.Sprintf("-s %s -o docker0 -j RETURN", subnet),
			fmt.Sprintf("-s %s -o br-+ -j RETURN", subnet),
			fmt.Sprintf("-s %s -j ACCEPT", subnet),
			fmt.Sprintf("-d %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", subnet),
			fmt.Sprintf("-s %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", cluster),
			fmt.Sprintf("-d %s -m conntrack --ctstate DNAT -j ACCEPT", cluster),
		}},
		{"filter", "INPUT", prefix + "INPUT", []string{
			fmt.Sprintf("-i %s+ -p udp -m udp --dport 53 -j ACCEPT", links),
			fmt.Sprintf("-i %s+ -p tcp -m tcp --dport 53 -j ACCEPT", links),
		}},
		{"nat", "POSTROUTING", prefix + "POSTROUTING", []string{
			fmt.Sprintf("-s %s ! -d %s -j MASQUERADE", subnet, cluster),
		}},
	}
}

// withOverlay lets in what other nodes send for this one's pods, first of all: there is most of it.
func withOverlay(chains []hostChain, port uint16, peers []netip.Addr) []hostChain {
	for i := range chains {
		if chains[i].builtin != "INPUT" {
			continue
		}
		var first []string
		for _, p := range peers {
			first = append(first, fmt.Sprintf("-s %s/32 -p udp -m udp --dport %d -j ACCEPT", p, port))
		}
		chains[i].rules = append(first, chains[i].rules...)
	}
	return chains
}

// hostFirewall keeps the chains with iptables.
type hostFirewall struct {
	ipt    *iptables.IPTables
	chains []hostChain
	// asWritten is how iptables lists our rules, by chain, after we had written them:
	// versions differ in the order of words.
	asWritten map[string][]string
}

func newHostFirewall(program string, chains []hostChain) (*hostFirewall, error) {
	ipt, err := iptables.New(iptables.IPFamily(iptables.ProtocolIPv4), iptables.Timeout(10), iptables.Path(program))
	if err != nil {
		return nil, err
	}
	return &hostFirewall{ipt: ipt, chains: chains, asWritten: map[string][]string{}}, nil
}

// ensure puts back what is missing, and names the chains that it mended.
func (h *hostFirewall) ensure() (mended []string, err error) {
	for _, c := range h.chains {
		wrote, err := h.ensureChain(c)
		if err != nil {
			return mended, fmt.Errorf("iptables chain %s: %w", c.name, err)
		}
		// A jump that others' rules were put before still does its work.
		has, err := h.ipt.Exists(c.table, c.builtin, "-j", c.name)
		if err != nil {
			return mended, fmt.Errorf("iptables chain %s: %w", c.builtin, err)
		}
		if !has {
			if err := h.ipt.Insert(c.table, c.builtin, 1, "-j", c.name); err != nil {
				return mended, fmt.Errorf("iptables chain %s: %w", c.builtin, err)
			}
		}
		if wrote || !has {
			mended = append(mended, c.name)
		}
	}
	return mended, nil
}

func (h *hostFirewall) ensureChain(c hostChain) (wrote bool, err error) {
	exists, err := h.ipt.ChainExists(c.table, c.name)
	if err != nil {
		return false, err
	}
	var have []string
	if exists {
		if have, err = h.ipt.List(c.table, c.name); err != nil {
			return false, err
		}
	}
	want := []string{"-N " + c.name}
	for _, r := range c.rules {
		want = append(want, "-A "+c.name+" "+r)
	}
	if exists && (slices.Equal(have, want) || slices.Equal(have, h.asWritten[c.name])) {
		return false, nil
	}
	if err := h.ipt.ClearChain(c.table, c.name); err != nil {
		return false, err
	}
	for _, r := range c.rules {
		if err := h.ipt.Append(c.table, c.name, strings.Fields(r)...); err != nil {
			return false, err
		}
	}
	h.asWritten[c.name], err = h.ipt.List(c.table, c.name)
	return true, err
}

// remove deletes the jumps and the chains.
func (h *hostFirewall) remove() error {
	var errs []error
	for _, c := range h.chains {
		exists, err := h.ipt.ChainExists(c.table, c.name)
		if err != nil || !exists {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, h.ipt.DeleteIfExists(c.table, c.builtin, "-j", c.name), h.ipt.ClearAndDeleteChain(c.table, c.name))
	}
	return errors.Join(errs...)
}

// isLegacy says that iptables keeps its rules outside of nft, whose generation then
// does not tell about changes.
func isLegacy() bool {
	tables, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	return err == nil && len(tables) > 0
}
