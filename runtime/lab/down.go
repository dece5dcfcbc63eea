package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipway.dev/slipway/runtime/mounts"
)

// Down takes away everything that the lab is: processes, containers, links, rules, files.
// What is gone already is no error.
func (l *Lab) Down() error {
	lock, err := l.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	return l.remove()
}

func (l *Lab) remove() error {
	if err := l.end(); err != nil {
		return err
	}
	errs := []error{l.removeGroups(), mounts.UndoBelow(l.runDir())}
	for i := range l.Hosts {
		errs = append(errs, l.Hosts[i].removeNetwork(), l.Hosts[i].removeDisk())
	}
	errs = append(errs, l.removeUnderlay())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	errs = []error{os.RemoveAll(l.runDir()), l.removeConfig()}
	for i := range l.Hosts {
		errs = append(errs, os.RemoveAll(l.Hosts[i].dir()))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The list goes last: until then the rest can be found by it.
	for _, name := range []string{planFile + ".part", "lock", planFile} {
		if err := os.RemoveAll(filepath.Join(l.Dir, name)); err != nil {
			return err
		}
	}
	if l.MadeDir {
		// What somebody else has put there stays.
		if err := os.Remove(l.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// end kills every process of the lab: by their environment what it started itself, and
// by their control group what runs in containers.
func (l *Lab) end() error {
	return kill(func() []int {
		pids := slices.DeleteFunc(processes(func(environ, _ []string) bool { return contains(environ, l.mark()) }), func(pid int) bool { return pid == os.Getpid() })
		return append(pids, inside(l.groups())...)
	})
}

// inside are the processes of control groups.
func inside(groups []string) (pids []int) {
	for _, g := range groups {
		data, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
		if err != nil {
			continue // The group has gone since.
		}
		for _, word := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(word); err == nil && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// groups are the control groups of the lab's containers, the deepest first: below each
// controller's folder (version 1), or below the only one (version 2).
func (l *Lab) groups() []string {
	var out []string
	tops, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", "*", l.group())) // The pattern is well formed.
	for _, top := range append(tops, filepath.Join("/sys/fs/cgroup", l.group())) {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				out = append(out, path)
			}
			return nil // What goes while it is looked at is gone.
		})
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return out
}

func (l *Lab) removeGroups() error {
	var err error
	for range 100 {
		err = nil
		for _, g := range l.groups() {
			if e := os.Remove(g); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = e
			}
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("remove control groups: %w", err)
	}
	return nil
}
