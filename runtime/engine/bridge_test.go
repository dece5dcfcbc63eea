package engine

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAnotherEnginesBridgeSurvivesAPrivateEngine(t *testing.T) {
	if !apart(t) {
		return
	}
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
	if !apart(t) {
		return
	}
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

// apart runs the test in a process with a network of its own, where it answers true: on the
// host, a private engine of another test that looked before there was a docker0 would delete it.
func apart(t *testing.T) bool {
	t.Helper()
	const inside = "SLIPWAY_TEST_APART"
	if os.Getenv(inside) != "" {
		return true
	}
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// dockerBridge makes docker0, and describes it.
func dockerBridge(t *testing.T) link {
	t.Helper()
	made := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	made.Name = defaultBridge
	if err := netlink.LinkAdd(made); err != nil {
		t.Fatal(err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 129), Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrAdd(made, address); err != nil {
		t.Fatal(err)
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
