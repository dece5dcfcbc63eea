package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"slipway.dev/slipway/network/dns"
	"slipway.dev/slipway/network/rules"
)

const forwardFile = "/proc/sys/net/ipv4/ip_forward"

// Up brings the node's side into place, adopting what exists, and begins to answer DNS.
// It may be called again after Close. Where live state cannot be reached but this node
// had a subnet before, it goes on with that.
func (d *Driver) Up(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up {
		return nil
	}
	if err := d.leases.load(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := d.refuseOther(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := d.settleSubnet(ctx); err != nil {
		return fmt.Errorf("network: subnet of node %s: %w", d.Node, err)
	}
	if err := d.adoptLinks(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if _, err := d.ensureNode(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := d.serveNames(); err != nil {
		return fmt.Errorf("network: dns at %s: %w", d.gateway(), err)
	}
	d.up = true
	select {
	case d.wake <- key{Name: d.Node}:
	default: // it is to wake already
	}
	return nil
}

func (d *Driver) settleSubnet(ctx context.Context) error {
	had, forwardWas := d.leases.remembered()
	subnet, err := d.Subnet(ctx, had)
	switch {
	case err != nil && had.IsValid() && ctx.Err() == nil && !errors.Is(err, errUnassigned):
		d.Log.Warn("live state cannot be reached, keeping the subnet of before", "subnet", had.String(), "error", err)
		subnet = had
	case err != nil:
		return err
	}
	if had.IsValid() && had != subnet {
		// Pods of the old subnet keep running until they are replaced; their addresses are not ours to give.
		d.Log.Warn("this node's subnet has changed", "before", had.String(), "now", subnet.String())
	}
	d.subnet = subnet
	if had == subnet && forwardWas != "" {
		return nil
	}
	was, err := os.ReadFile(forwardFile)
	if err != nil {
		return err
	}
	return d.leases.change(func(b *book) error {
		b.Subnet = subnet
		if b.ForwardWas == "" {
			b.ForwardWas = strings.TrimSpace(string(was))
		}
		return nil
	})
}

// ensureNode puts the node's own links, routes, settings and iptables rules in place,
// and says what it had to mend. It needs mu held, as do all of the following.
func (d *Driver) ensureNode() (mended []string, err error) {
	if d.filter == nil {
		var err error
		d.filter, d.earlier, err = d.newFilter(rules.Frame{Table: d.Name, Links: d.linkPrefix(), Bridge: d.bridgeName(), Cluster: d.ClusterNetwork,
			Subnet: d.subnet, Service: d.ServiceNetwork, Gateway: d.gateway(), Flat: d.Flat,
			Overlay: d.overlayName(), VNI: d.VNI, OverlayPort: d.OverlayPort})
		if err != nil {
			return nil, err
		}
	}
	changed, err := setSysctl(forwardFile, "1")
	if err != nil {
		return nil, err
	}
	if changed {
		mended = append(mended, "net.ipv4.ip_forward")
	}
	links, err := d.ensureBridge()
	mended = append(mended, links...)
	if err != nil {
		return mended, err
	}
	overlay, err := d.ensureOverlay()
	mended = append(mended, overlay...)
	if err != nil {
		return mended, err
	}
	now, err := d.moment()
	if err != nil {
		return mended, err
	}
	if now.onlyOwn(d.checked) && (d.byChains || !isLegacy()) {
		return mended, nil
	}
	firewall, err := newHostFirewall(d.program, withOverlay(hostChains(d.Name, d.linkPrefix(), d.ClusterNetwork, d.subnet), d.OverlayPort, d.peerAddresses()))
	if err != nil {
		return mended, err
	}
	chains, err := firewall.ensure()
	if err != nil {
		return append(mended, chains...), err
	}
	// Read before the look, so that a change during it is looked at again.
	d.checked = now
	if named := d.peerAddresses(); !slices.Equal(named, d.named) {
		d.named = named
		return mended, nil // Nobody had changed anything: nodes came or went.
	}
	return append(mended, chains...), nil
}

// setSysctl writes only where the value differs; a setting that the kernel does not have
// is an error of kind fs.ErrNotExist.
func setSysctl(file, value string) (changed bool, err error) {
	have, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(have)) == value {
		return false, err
	}
	return true, os.WriteFile(file, []byte(value), 0o644)
}

func (d *Driver) serveNames() error {
	gateway := d.gateway()
	server := &dns.Server{Records: d.records, Log: d.Log, Upstream: &dns.Upstream{File: d.ResolvConf, Except: []string{gateway.String()}}}
	if _, err := server.Listen(netip.AddrPortFrom(gateway, 53)); err != nil {
		return err
	}
	d.server = server
	return nil
}

// Close ends what runs in this process: the answering of DNS. Links and rules stay, and
// with them what runs on the node.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close()
}

func (d *Driver) close() error {
	if !d.up {
		return nil
	}
	d.up = false
	for pod := range d.held {
		d.letGo(pod)
	}
	err := errors.Join(d.server.Close(), d.filter.Close())
	d.server = nil
	return err
}

// Down removes everything that this driver or an earlier one of the same name made on the
// node: links, routes, rules, settings, the file of addresses. The Node object
// keeps its subnet.
func (d *Driver) Down(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := []error{d.close()}
	if other, err := d.owner(); err != nil || other != "" {
		// Nothing of that name is this driver's to remove.
		return errors.Join(append(errs, err)...)
	}
	if err := d.leases.load(); err != nil {
		errs = append(errs, err)
	}
	subnet, forwardWas := d.leases.remembered()
	if !subnet.IsValid() {
		subnet = d.ClusterNetwork
	}
	errs = append(errs, d.removeLinks(), d.removeRules(subnet))
	if forwardWas != "" {
		_, err := setSysctl(forwardFile, forwardWas)
		errs = append(errs, err)
	}
	d.filter, d.primed, d.checked = nil, false, moment{}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("network: down: %w", err)
	}
	if err := os.Remove(d.leases.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: down: %w", err)
	}
	return nil
}
