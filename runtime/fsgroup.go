package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// What a pod's group may do with what is in a volume that is made its own, as with the kubelet.
const (
	groupFile      = 0o660
	groupDirectory = unix.S_ISGID | 0o770
)

// ownBy gives what is in a directory to a group. With the policy OnRootMismatch all of it is
// taken for the group's where the directory itself is. Links are given, and not followed.
func ownBy(dir string, group int, policy *corev1.PodFSGroupChangePolicy) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("give %s to group %d: %w", dir, group, err)
	}
	root := os.NewFile(uintptr(fd), dir)
	defer root.Close()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return err
	}
	if policy != nil && *policy == corev1.FSGroupChangeOnRootMismatch && int(s.Gid) == group && s.Mode&groupDirectory == groupDirectory {
		return nil
	}
	if err := ownBelow(root, group, 0); err != nil {
		return fmt.Errorf("give %s to group %d: %w", dir, group, err)
	}
	// The directory last: where this was interrupted, it does not look done.
	return own(fd, &s, group)
}

func ownBelow(d *os.File, group, depth int) error {
	if depth > deepest {
		return errTooDeep
	}
	for {
		names, err := d.Readdirnames(entriesAtOnce)
		for _, n := range names {
			if err := ownEntry(int(d.Fd()), n, group, depth); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func ownEntry(parent int, name string, group, depth int) error {
	// Not opened for reading: it may be a pipe.
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	at := os.NewFile(uintptr(fd), name)
	defer at.Close()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return err
	}
	if s.Mode&unix.S_IFMT == unix.S_IFDIR {
		below, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		d := os.NewFile(uintptr(below), name)
		defer d.Close()
		if err := ownBelow(d, group, depth+1); err != nil {
			return err
		}
	}
	return own(fd, &s, group)
}

// own gives what was opened to a group, which may read and write it then.
func own(fd int, s *unix.Stat_t, group int) error {
	if int(s.Gid) != group {
		if err := unix.Fchownat(fd, "", -1, group, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	want := s.Mode & 0o7777
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
		want |= groupDirectory
	default:
		want |= groupFile
	}
	if want == s.Mode&0o7777 && int(s.Gid) == group {
		return nil
	}
	// By the name of what is open: nobody can put something else there.
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), want)
}
