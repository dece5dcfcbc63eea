package engine

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// It does not run beside the other tests: a private engine of theirs that looked before
// this one made docker0 would delete it.
func TestAnotherEnginesBridgeSurvivesAPrivateEngine(t *testing.T) {
	before := dockerBridge(t)
	dir := t.TempDir()
	e, err := Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	own := e.daemon.bridge
	if _, err := netlink.LinkByName(own); err != nil {
		t.Errorf("the private engine's own bridge %s: %v", own, err)
	}
	sameBridge(t, before)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	sameBridge(t, before)
	var absent netlink.LinkNotFoundError
	if _, err := netlink.LinkByName(own); !errors.As(err, &absent) {
		t.Errorf("the private engine's bridge %s is left (%v)", own, err)
	}
}

// A bridge that a killed process left is removed and made again.
func TestABridgeThatIsLeftIsRemoved(t *testing.T) {
	dockerBridge(t)
	d := &daemon{bridge: "sl-test-left", namespace: t.Name()}
	t.Cleanup(func() {
		if err := d.removeBridge(); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		name, err := d.makeBridge()
		if err != nil || name != d.bridge {
			t.Fatalf("bridge %q, %v", name, err)
		}
		for range 2 { // Removing what is not there is no error.
			if err := d.removeBridge(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFreeSubnet(t *testing.T) {
	t.Parallel()
	first, err := freeSubnet("a", nil)
	if err != nil || first.Bits() != bridgeBits || !bridges.Contains(first.Addr()) || first.Masked() != first {
		t.Fatalf("subnet %s, %v", first, err)
	}
	if again, _ := freeSubnet("a", nil); again != first {
		t.Errorf("the same name gets %s, then %s", first, again)
	}
	if other, _ := freeSubnet("b", nil); other == first {
		t.Errorf("two names get %s", first)
	}
	taken := []netip.Prefix{netip.PrefixFrom(first.Addr(), 32), netip.MustParsePrefix("10.0.0.0/8")}
	if other, err := freeSubnet("a", taken); err != nil || other == first || !bridges.Contains(other.Addr()) {
		t.Errorf("where %s is taken: %s, %v", first, other, err)
	}
	if s, err := freeSubnet("a", []netip.Prefix{netip.MustParsePrefix("198.0.0.0/8")}); err == nil {
		t.Errorf("where all is taken: %s", s)
	}
}

type link struct {
	index     int
	addresses string
}

// dockerBridge describes docker0, and makes one for this test where there is none.
func dockerBridge(t *testing.T) link {
	t.Helper()
	var absent netlink.LinkNotFoundError
	if _, err := netlink.LinkByName(defaultBridge); errors.As(err, &absent) {
		made := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		made.Name = defaultBridge
		if err := netlink.LinkAdd(made); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netlink.LinkDel(made); err != nil {
				t.Error(err)
			}
		})
		address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 129), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(made, address); err != nil {
			t.Fatal(err)
		}
	}
	return describe(t)
}

func describe(t *testing.T) link {
	t.Helper()
	l, err := netlink.LinkByName(defaultBridge)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	found := link{index: l.Attrs().Index}
	for _, a := range addresses {
		found.addresses += a.IPNet.String() + " "
	}
	return found
}

func sameBridge(t *testing.T, before link) {
	t.Helper()
	if after := describe(t); after != before {
		t.Errorf("docker0 was %+v and is %+v", before, after)
	}
}
