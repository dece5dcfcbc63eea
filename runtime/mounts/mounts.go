// Package mounts looks at and undoes mounts of this process's mount namespace.
package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Below lists the mount points below dir, the innermost first. dir itself is not among them. The
// kernel knows no links: what is reached through one is found all the same.
func Below(dir string) ([]string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	points, err := points()
	if err != nil {
		return nil, err
	}
	var below []string
	for i := len(points) - 1; i >= 0; i-- {
		if strings.HasPrefix(points[i], dir+"/") {
			below = append(below, points[i])
		}
	}
	return below, nil
}

// At says whether something is mounted at path.
func At(path string) (bool, error) {
	path, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	points, err := points()
	for _, p := range points {
		if p == path {
			return true, nil
		}
	}
	return false, err
}

// UndoBelow unmounts everything below dir, also what is busy (MNT_DETACH).
func UndoBelow(dir string) error {
	below, err := Below(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range below {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	// Whoever asks is about to remove dir: what is still mounted there must not go with it.
	if below, err = Below(dir); err != nil {
		return err
	}
	if len(below) > 0 {
		return fmt.Errorf("%s is still mounted", below[0])
	}
	return nil
}

// points reads the fifth field of mountinfo, in which blanks, number signs and backslashes are
// written in octal (proc_pid_mountinfo(5)).
func points() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`)
	var all []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, unescape.Replace(f[4]))
		}
	}
	return all, nil
}
