package networktest

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"
)

// Namespace is a network namespace held by a sleeping process, as a pod's is by its sandbox.
type Namespace struct {
	PID int
}

// New makes a namespace; it goes with the test.
func New(t testing.TB) Namespace {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return Namespace{PID: cmd.Process.Pid}
}

// Do runs f inside. Sockets that f opens, in its own goroutine, belong to the
// namespace, also later and elsewhere.
func (n Namespace) Do(f func() error) error {
	ns, err := netns.GetFromPid(n.PID)
	if err != nil {
		return err
	}
	defer ns.Close()
	return In(ns, f)
}

// In runs f inside of a namespace that is open, as [Namespace.Do] does; the processes in it may have ended.
func In(ns netns.NsHandle, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, so that no other
		// goroutine runs inside by mistake.
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		finished := false
		defer func() {
			if !finished {
				result <- errors.New("the function in the namespace did not return")
			}
		}()
		err := f()
		finished = true
		result <- err
	}()
	return <-result
}
