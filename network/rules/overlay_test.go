package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestOverlayText(t *testing.T) {
	t.Parallel()
	f := frame("slipway")
	f.Overlay, f.VNI, f.OverlayPort = "slipway-vx", 1, 4789
	for _, flat := range []bool{false, true} {
		f.Flat = flat
		var b strings.Builder
		for _, c := range f.overlay() {
			fmt.Fprintf(&b, "chain %s\n", c.name)
			for _, r := range c.rules {
				fmt.Fprintf(&b, "\t%s\n", r.text)
				if len(r.text) > 120 {
					t.Errorf("chain %s: the rule %q is longer than nft's comments can be", c.name, r.text)
				}
			}
		}
		golden(t, fmt.Sprintf("overlay-flat-%v", flat), b.String())
	}
}

func TestWhatPacketsCarry(t *testing.T) {
	t.Parallel()
	for netid, want := range map[uint32]uint32{0: 0, 1: 1, 10: 10, 65534: 65534, 65535: 2, 65536: 3, 1<<24 - 1: 1 + (1<<24-1)%65534, FirstOwn: unknownGroup, FirstOwn + 10: unknownGroup} {
		if got := carried(netid); got != want {
			t.Errorf("network %d: carried as %d, want %d", netid, got, want)
		}
	}
	// No network but 0 is carried as the global one, and none as unknown.
	for netid := uint32(1); netid < 1<<24; netid += 997 {
		if n := carried(netid); n == 0 || n >= unknownGroup {
			t.Errorf("network %d is carried as %d", netid, n)
		}
	}
}

func TestElementsOfHosts(t *testing.T) {
	t.Parallel()
	gateway, address := netip.MustParseAddr("10.128.2.1"), netip.MustParseAddr("192.0.2.2")
	const always = "admits 10.128.2.0 . 0\nadmits 10.128.2.1 . 0\ncarries 10.128.2.0 : 0\ncarries 10.128.2.1 : 0\ngateways 10.128.2.1\n" +
		"members 10.128.2.0 . 0\nmembers 10.128.2.1 . 0\nnetids 10.128.2.0 : 0\nnetids 10.128.2.1 : 0\n"
	for want, got := range map[string]Elements{
		always + "peers 192.0.2.2\n": OfHost(gateway, address, false),
		always:                       OfHost(gateway, address, true),
	} {
		if got.String() != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if got := OfPod(Pod{Address: gateway, Netid: FirstOwn + 3}).String(); strings.Contains(got, "admits") {
		t.Errorf("a pod of a project without a number admits something: %s", got)
	}
}

// What was written is known again: nothing is put back that nobody had taken.
func TestOverlayIsReadBack(t *testing.T) {
	f := frame("overlay")
	f.Overlay, f.VNI, f.OverlayPort = "overlay-vx", 1, 4789
	tab := NewTable()
	tab.Put("host b", OfHost(netip.MustParseAddr("10.128.2.1"), netip.MustParseAddr("192.0.2.2"), false))
	k, again := NewKernel(f), NewKernel(f)
	t.Cleanup(func() {
		if err := k.Remove(); err != nil {
			t.Error(err)
		}
	})
	mustSync(t, k, tab)
	if mustSync(t, again, tab) {
		t.Error("an intact overlay was taken for a broken one")
	}
	mustHold(t, again, tab)
}
