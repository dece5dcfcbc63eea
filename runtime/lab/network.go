package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// networks is where a lab's network is taken from: half of the range that is set aside for
// benchmarks between networks (RFC 2544), which no host's own network uses.
var networks = netip.MustParsePrefix("198.19.0.0/16")

const networkBits = 24

// freeNetwork picks a network by the lab's id, and where this machine has a route into it,
// the next one.
func freeNetwork(id string) (netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list routes: %w", err)
	}
	var first int
	if _, err := fmt.Sscanf(id[:2], "%x", &first); err != nil {
		return netip.Prefix{}, err
	}
	b := networks.Addr().As4()
	for i := range 256 {
		b[2] = byte(first + i)
		p := netip.PrefixFrom(netip.AddrFrom4(b), networkBits)
		if !isRouted(routes, p) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free network for a lab: routes cover all of %s", networks)
}

func isRouted(routes []netlink.Route, p netip.Prefix) bool {
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 && netip.PrefixFrom(a, ones).Overlaps(p) {
			return true
		}
	}
	return false
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, 32)}
}

// makeUnderlay makes the bridge, and lets hosts reach each other and what this machine reaches.
func (l *Lab) makeUnderlay() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.bridge()
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	if err := errors.Join(netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(l.Machine(), networkBits)}), netlink.LinkSetUp(bridge)); err != nil {
		return fmt.Errorf("bridge %s: %w", attrs.Name, err)
	}
	if err := os.WriteFile(forwardFile, []byte("1"), 0o644); err != nil {
		return err
	}
	for _, rule := range l.rules() {
		if err := iptables(append([]string{"-t", rule[0], "-I"}, rule[1:]...)...); err != nil {
			return err
		}
	}
	return nil
}

const forwardFile = "/proc/sys/net/ipv4/ip_forward"

// rules are this machine's: Docker drops what it does not know of, also what a bridge carries. Nobody
// outside reaches a host through this machine.
func (l *Lab) rules() [][]string {
	return [][]string{
		{"filter", "FORWARD", "-i", l.bridge(), "-j", "ACCEPT"},
		{"filter", "FORWARD", "-o", l.bridge(), "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"},
		{"nat", "POSTROUTING", "-s", l.Network.String(), "!", "-d", l.Network.String(), "-j", "MASQUERADE"},
	}
}

func iptables(args ...string) error {
	out, err := exec.Command("iptables", append([]string{"-w", "10"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// removeUnderlay removes what is there of it.
func (l *Lab) removeUnderlay() error {
	var errs []error
	for _, rule := range l.rules() {
		for iptables(append([]string{"-t", rule[0], "-C"}, rule[1:]...)...) == nil {
			if err := iptables(append([]string{"-t", rule[0], "-D"}, rule[1:]...)...); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	errs = append(errs, removeLink(l.bridge()))
	// Another lab needs it as much as this one did.
	if others, _ := filepath.Glob("/run/slipway-lab-*"); l.ForwardWas != "" && !slices.ContainsFunc(others, func(dir string) bool { return dir != l.runDir() }) {
		errs = append(errs, os.WriteFile(forwardFile, []byte(l.ForwardWas), 0o644))
	}
	return errors.Join(errs...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err == nil || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return fmt.Errorf("link %s: delete: %w", name, err)
}

// makeNetwork makes the host's network namespace and connects it to the bridge.
func (h *Host) makeNetwork() error {
	if err := onThread(func() error {
		ns, err := netns.NewNamed(h.space())
		if err != nil {
			return err
		}
		return ns.Close()
	}); err != nil {
		return fmt.Errorf("network namespace %s: %w", h.space(), err)
	}
	ns, err := netns.GetFromName(h.space())
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", h.space(), err)
	}
	defer ns.Close()
	bridge, err := netlink.LinkByName(h.lab.bridge())
	if err != nil {
		return fmt.Errorf("bridge %s: %w", h.lab.bridge(), err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = h.link(), bridge.Attrs().Index
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := errors.Join(netlink.LinkAdd(pair), netlink.LinkSetUp(pair)); err != nil {
		return fmt.Errorf("link %s: %w", attrs.Name, err)
	}
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", h.space(), err)
	}
	defer inside.Close()
	lo, err1 := inside.LinkByName("lo")
	eth0, err2 := inside.LinkByName("eth0")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return errors.Join(inside.LinkSetUp(lo), inside.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(h.Address, networkBits)}), inside.LinkSetUp(eth0),
		inside.RouteAdd(&netlink.Route{Gw: h.lab.Machine().AsSlice()}))
}

// removeNetwork removes what is there of it.
func (h *Host) removeNetwork() error {
	errs := []error{removeLink(h.link())}
	file := filepath.Join("/run/netns", h.space())
	if err := syscall.Unmount(file, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EINVAL) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", file, err))
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// onThread runs f on a thread of its own that ends with it, whatever f did to the thread.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// Do runs f inside of the host's network. What f opens and starts, in its own goroutine,
// belongs there, also later.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		ns, err := netns.GetFromName(h.space())
		if err != nil {
			return fmt.Errorf("network namespace %s: %w", h.space(), err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("network namespace %s: %w", h.space(), err)
		}
		return f()
	})
}

// Cut parts the host from all others, as a pulled cable does.
func (h *Host) Cut() error { return h.setLink(netlink.LinkSetDown) }

// Heal undoes Cut.
func (h *Host) Heal() error { return h.setLink(netlink.LinkSetUp) }

func (h *Host) setLink(set func(netlink.Link) error) error {
	link, err := netlink.LinkByName(h.link())
	if err == nil {
		err = set(link)
	}
	if err != nil {
		return fmt.Errorf("link %s of host %s: %w", h.link(), h.Name, err)
	}
	return nil
}
