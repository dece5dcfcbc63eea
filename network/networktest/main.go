// Package networktest gives tests network namespaces of their own: one for the whole
// test binary, which stands for a node, and others inside it, which stand for pods and
// for what is outside. Links and rules made in them vanish with them, and the machine's own are
// never touched.
package networktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

const inside = "NETWORKTEST_INSIDE"

// Main runs the tests in a fresh network namespace, by running the test binary again in it. It needs
// root. Call it from TestMain.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := setLoopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "run the tests in a network namespace of their own (needs root):", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func setLoopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
