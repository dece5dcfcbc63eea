package network

import (
	"net/netip"
	"testing"
)

// TestAnInstanceAloneGuardsNoOverlay: on a host with two instances the one that is alone leaves what other
// nodes send for the other one's pods, and takes it up with its first node.
func TestAnInstanceAloneGuardsNoOverlay(t *testing.T) {
	t.Parallel()
	d, err := New(Options{Node: "a", Client: newNode(t, nil).client, Name: "alone", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	d.subnet = netip.MustParsePrefix("10.128.0.0/23")
	guards := func() bool { return len(d.table.Of("overlay")) > 0 }
	if err := d.placeHost("a", hostSubnet("a", "192.0.2.1", "10.128.0.0/23")); err != nil || guards() {
		t.Errorf("alone it guards an overlay: %t, %v", guards(), err)
	}
	if err := d.placeHost("b", hostSubnet("b", "192.0.2.2", "10.128.2.0/23")); err != nil || !guards() {
		t.Errorf("with another node it guards its overlay: %t, %v", guards(), err)
	}
}
