package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"slipway.dev/slipway/runtime/lab"
	"slipway.dev/slipway/runtime/lab/labtest"
)

const patience = 30 * time.Second

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// left is what of a lab can be found on this machine.
func left(t *testing.T, l *lab.Lab) string {
	t.Helper()
	var found []string
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range links {
		if strings.Contains(i.Name, l.ID) {
			found = append(found, "link "+i.Name)
		}
	}
	for _, pattern := range []string{"/run/netns/*" + l.ID + "*", "/run/*" + l.ID + "*", "/sys/fs/cgroup/*/*" + l.ID + "*", l.Dir + "/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, files...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts) + string(rules)) {
		if strings.Contains(line, l.ID) || strings.Contains(line, l.Dir) || strings.Contains(line, l.Network.String()) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range environs {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), "SLIPWAY_LAB="+l.ID) {
			found = append(found, f)
		}
	}
	return strings.Join(found, "\n")
}

// greet makes a host answer on a TCP port, until the test ends.
func greet(t *testing.T, h *lab.Host) {
	t.Helper()
	if err := h.Do(func() error {
		l, err := net.Listen("tcp", h.Address.String()+":7")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, h.Name)
				c.Close()
			}
		}()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func reaches(from, to *lab.Host) error {
	return from.Do(func() error {
		c, err := net.DialTimeout("tcp", to.Address.String()+":7", time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func TestHostsHaveEnginesAndReachEachOther(t *testing.T) {
	t.Parallel()
	l := labtest.New(t, lab.Options{Nodes: 2, Disk: lab.MinDisk})
	a, b := &l.Hosts[0], &l.Hosts[1]
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(a.DataDir()), &disk); err != nil || int64(disk.Blocks)*disk.Bsize != lab.MinDisk {
		t.Errorf("the host's disk has %d blocks of %d bytes (%v), want %d bytes", disk.Blocks, disk.Bsize, err, lab.MinDisk)
	}
	greet(t, b)
	if err := reaches(a, b); err != nil {
		t.Errorf("before the cut: %v", err)
	}
	if err := b.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := reaches(a, b); err == nil {
		t.Error("a host that was cut off is reached")
	}
	if err := b.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "after it was healed", func() error { return reaches(a, b) })

	// Containers are each engine's own, and outlive the lab's process but not the lab.
	labtest.Busybox(t, l, "lab.test/busybox:1")
	if out, err := a.Run("docker", "run", "-d", "--network", "host", "--stop-signal", "KILL", "--name", "sleeper", "lab.test/busybox:1", "sleep", "1000"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for h, want := range map[*lab.Host]string{a: "sleeper\n", b: ""} {
		if out, err := h.Run("docker", "ps", "--format", "{{.Names}}"); err != nil || out != want {
			t.Errorf("%s runs %q (%v), want %q", h.Name, out, err, want)
		}
	}
	if out, err := a.Run("docker", "exec", "sleeper", "ip", "addr"); err != nil || !strings.Contains(out, a.Address.String()+"/") {
		t.Errorf("the host's network is not the lab's: %v %s", err, out)
	}
	// An engine that was killed is started again.
	if err := a.Kill(lab.Engine); err != nil {
		t.Fatal(err)
	}
	if a.Runs(lab.Engine) || !b.Runs(lab.Engine) {
		t.Error("the wrong engine was killed")
	}
	if err := a.StartEngine(t.Context()); err != nil {
		t.Fatal(err)
	}
	// After a power cut nothing runs any more; what the disk holds is still there.
	if err := a.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "forgotten"
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.PowerOff(), a.StartEngine(t.Context())); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Run("docker", "ps", "-a", "--format", "{{.Names}} {{.State}}"); err != nil || out != "sleeper exited\n" {
		t.Errorf("after the power cut: %v %q", err, out)
	}
	if out, err := a.Run("ip", "-br", "link"); err != nil || strings.Contains(out, "forgotten") || !strings.Contains(out, "eth0") {
		t.Errorf("after the power cut: %v %s", err, out)
	}
	// Another process finds it by the folder; a second lab there is refused.
	if _, err := lab.Up(t.Context(), lab.Options{Dir: l.Dir, Nodes: 1}); err == nil || !strings.Contains(err.Error(), "there is a lab") {
		t.Errorf("a second lab in the same folder: %v", err)
	}
	again, err := lab.Open(l.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Host("node3"); err == nil || !strings.Contains(err.Error(), "node1, node2") {
		t.Errorf("a host that is not there: %v", err)
	}
	if err := again.Down(); err != nil {
		t.Fatal(err)
	}
	if found := left(t, l); found != "" {
		t.Errorf("left:\n%s", found)
	}
	if _, err := lab.Open(l.Dir, nil); !errors.Is(err, lab.ErrNone) {
		t.Errorf("open after down: %v", err)
	}
}

// TestAHalfMadeLabIsTakenAway: the process that makes it is killed in between.
func TestAHalfMadeLabIsTakenAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	maker := exec.Command("/proc/self/exe", "-test.run=^TestMaker$")
	maker.Env = append(os.Environ(), "LAB_TEST_MAKE="+dir)
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	var l *lab.Lab
	eventually(t, "something is made", func() (err error) {
		if l, err = lab.Open(dir, nil); err != nil {
			return err
		}
		if !strings.Contains(left(t, l), "link ") {
			return errors.New("no link yet")
		}
		return nil
	})
	if err := maker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = maker.Wait() // It was killed.
	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	if found := left(t, l); found != "" {
		t.Errorf("left:\n%s", found)
	}
}

// TestMaker is the process that TestAHalfMadeLabIsTakenAway kills; by itself it does nothing.
func TestMaker(t *testing.T) {
	if dir := os.Getenv("LAB_TEST_MAKE"); dir != "" {
		_, err := lab.Up(context.Background(), lab.Options{Dir: dir, Nodes: 2})
		t.Fatal("made it to the end", err)
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]lab.Options{
		"--nodes 0":                           {Dir: t.TempDir()},
		"--nodes 51":                          {Dir: t.TempDir(), Nodes: 51},
		"--servers 2: want 1 to 1 on 1 hosts": {Dir: t.TempDir(), Nodes: 1, Servers: 2},
		"--disk 1":                            {Dir: t.TempDir(), Nodes: 1, Disk: 1},
		"no lab has written it":               {Dir: t.TempDir(), Nodes: 1, Config: "/etc/hostname"},
	} {
		if _, err := lab.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAServerThatDoesNotStartIsToldOfAndTakenAway(t *testing.T) {
	t.Parallel()
	o := lab.Options{Dir: t.TempDir(), Nodes: 1, Servers: 1, Program: "/bin/false"}
	_, err := lab.Up(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "the server did not come up") {
		t.Errorf("got %v", err)
	}
	if _, err := lab.Open(o.Dir, nil); !errors.Is(err, lab.ErrNone) {
		t.Errorf("it is still there: %v", err)
	}
}
