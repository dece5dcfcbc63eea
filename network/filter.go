package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"

	"slipway.dev/slipway/network/chains"
	"slipway.dev/slipway/network/rules"
)

// packetFilter carries rules out: with nftables (rules.Kernel), or with iptables
// (chains.Filter).
type packetFilter interface {
	// Sync brings what changed in the table into the kernel.
	Sync(*rules.Table) (repaired bool, err error)
	// Check puts back what others have changed since.
	Check(*rules.Table) (repaired bool, err error)
	// Own counts the changes that it made by itself.
	Own() uint32
	// Close lets go of what is open, and of no rule.
	Close() error
	// Remove takes everything away.
	Remove() error
}

// The words for Options.PacketFilter.
const (
	WithNFTables = "nftables"
	WithIPTables = "iptables"
)

const (
	iptablesProgram = "iptables"
	// legacyProgram is what iptables is called where the program of that name speaks nftables.
	legacyProgram = "iptables-legacy"
)

// choosePrograms finds out once what the kernel has. It needs mu held, as do all of the following.
func (d *Driver) choosePrograms() error {
	if d.program != "" {
		return nil
	}
	has, err := rules.Supported()
	if err != nil {
		return err
	}
	d.nftables = has
	d.byChains, d.program, err = decidePrograms(d.PacketFilter, has, func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
	if d.byChains && err == nil {
		d.Log.Info("service rules and isolation are made with iptables", "program", d.program, "nftables", has)
	}
	return err
}

// decidePrograms says whether all rules are chains of iptables, and which iptables is used for what
// lives beside Docker's chains.
func decidePrograms(wish string, nftables bool, installed func(string) bool) (byChains bool, program string, err error) {
	program = iptablesProgram
	// Where the kernel has no nftables, neither has iptables-nft, whatever name it goes by.
	if !nftables && installed(legacyProgram) {
		program = legacyProgram
	}
	switch {
	case wish == WithNFTables && !nftables:
		return false, "", errors.New("this node's kernel has no nftables")
	case wish == legacyProgram:
		program = legacyProgram
	}
	if !installed(program) {
		return false, "", fmt.Errorf("the program %s is needed to let pods' traffic through Docker's firewall, and it is not installed", program)
	}
	return !nftables || wish == WithIPTables || wish == legacyProgram, program, nil
}

// newFilter is what carries the frame's rules out, and others that may have made rules before.
func (d *Driver) newFilter(f rules.Frame) (filter packetFilter, others []packetFilter, err error) {
	if err := d.choosePrograms(); err != nil {
		return nil, nil, err
	}
	for _, program := range []string{iptablesProgram, legacyProgram} {
		if _, err := exec.LookPath(program + "-save"); err == nil && (program != d.program || !d.byChains) && (program == legacyProgram || d.nftables) {
			others = append(others, chains.NewFilter(f, program))
		}
	}
	if !d.byChains {
		return rules.NewKernel(f), others, nil
	}
	if d.nftables {
		others = append(others, rules.NewKernel(f))
	}
	return chains.NewFilter(f, d.program), others, nil
}

// generation is another one after every change of a rule.
func (d *Driver) generation() (uint32, error) {
	if d.byChains {
		return chains.Generation(d.program)
	}
	return rules.Generation()
}

func (d *Driver) linkIn(ns int, pod netip.Addr, links []rules.Link) error {
	if d.byChains {
		return chains.LinkIn(ns, d.program, pod, links)
	}
	return rules.LinkIn(ns, pod, links)
}

// removeRules takes away what this driver or an earlier one of the name has made.
func (d *Driver) removeRules(subnet netip.Prefix) error {
	filter, others, err := d.newFilter(rules.Frame{Table: d.Name})
	if err != nil {
		return err
	}
	errs := []error{}
	for _, f := range append(others, filter) {
		errs = append(errs, f.Remove())
	}
	firewall, err := newHostFirewall(d.program, hostChains(d.Name, d.linkPrefix(), d.ClusterNetwork, subnet))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, firewall.remove())...)
}

// moment is one in the life of the kernel's rules.
type moment struct {
	generation uint32
	own        uint32 // changes by our own filter until then
	known      bool
}

func (d *Driver) moment() (moment, error) {
	own := d.filter.Own()
	generation, err := d.generation()
	return moment{generation, own, err == nil}, err
}

// onlyOwn says whether nobody but our own filter has changed rules since before.
func (m moment) onlyOwn(before moment) bool {
	return m.known && before.known && m.generation-before.generation == m.own-before.own
}
