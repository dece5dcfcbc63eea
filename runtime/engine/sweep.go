package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipway.dev/slipway/runtime/mounts"
)

// sweep ends every process of the daemon and undoes its mounts and its bridge: those of
// one that runs, and those of one that was killed. What belongs to it is known by its run directory
// and its containerd namespace, which nobody else has.
func (d *daemon) sweep() error {
	// dockerd first and gently: it stops its containers, and its containerd follows.
	daemons, err := d.processes("dockerd")
	if err != nil {
		return err
	}
	if err := end(daemons, syscall.SIGTERM, 30*time.Second); err != nil {
		if err := end(daemons, syscall.SIGKILL, 10*time.Second); err != nil {
			return err
		}
	}
	// What a killed dockerd left: containerd, the shims, and under these the containers.
	for range 3 {
		rest, err := d.processes("containerd")
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			break
		}
		kids, err := descendants(rest)
		if err != nil {
			return err
		}
		if err := end(append(rest, kids...), syscall.SIGKILL, 10*time.Second); err != nil {
			return err
		}
	}
	return errors.Join(mounts.UndoBelow(d.dir), mounts.UndoBelow(d.run), d.removeBridge(), os.RemoveAll(d.run))
}

// processes lists the daemon's processes whose program's name begins with name.
func (d *daemon) processes(name string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // It has ended since.
		}
		args := strings.Split(string(cmdline), "\x00")
		if !strings.HasPrefix(filepath.Base(args[0]), name) || !d.owns(args) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func (d *daemon) owns(args []string) bool {
	for _, a := range args {
		if a == d.namespace || strings.HasPrefix(a, d.run+"/") {
			return true
		}
	}
	return false
}

// descendants lists the children of pids, and theirs.
func descendants(pids []int) ([]int, error) {
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended since.
		}
		// pid (comm) state ppid: comm may hold anything, so look behind its last parenthesis.
		rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(rest) > 1 {
			ppid, _ := strconv.Atoi(rest[1])
			children[ppid] = append(children[ppid], pid)
		}
	}
	var all []int
	for queue := pids; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all, nil
}

// end signals pids and waits until they are gone.
func end(pids []int, sig syscall.Signal, limit time.Duration) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
	}
	deadline := time.Now().Add(limit)
	for _, pid := range pids {
		for !gone(pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d does not end after signal %d", pid, sig)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// gone says whether a process has ended; a zombie has.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return len(rest) > 0 && rest[0] == "Z"
}
