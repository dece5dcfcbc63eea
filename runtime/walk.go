package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// deepest is how deep directories may be nested that are measured.
	deepest = 1000
	// linksKnown is of how many files with several names it is remembered that they were counted.
	linksKnown = 100_000
	// entriesAtOnce are read of a directory.
	entriesAtOnce = 256
)

// errTooDeep: what cannot be measured is too much.
var errTooDeep = fmt.Errorf("directories are nested more than %d deep", deepest)

// amount is what takes room on a disk.
type amount struct {
	bytes int64
	// files counts everything that has an inode.
	files int64
}

// size is what is below a directory. What goes away meanwhile is not counted. Nothing is
// found by its path, so that no container leads it elsewhere by a link that it makes at
// the same moment, or hides something behind a path that is too long.
func size(dir string) (amount, error) {
	w := walk{seen: map[inode]bool{}}
	err := w.below(unix.AT_FDCWD, dir, 0)
	return w.sum, err
}

type inode struct{ device, number uint64 }

type walk struct {
	sum  amount
	seen map[inode]bool
}

func (w *walk) below(parent int, name string, depth int) error {
	if depth > deepest {
		return errTooDeep
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // It has gone, or another thing has its name now.
	}
	if err != nil {
		return fmt.Errorf("measure %s: %w", name, err)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	for {
		names, err := d.Readdirnames(entriesAtOnce)
		for _, n := range names {
			if err := w.entry(fd, n, depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("measure %s: %w", name, err)
		}
	}
}

func (w *walk) entry(parent int, name string, depth int) error {
	var s unix.Stat_t
	err := unix.Fstatat(parent, name, &s, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("measure %s: %w", name, err)
	}
	directory := s.Mode&unix.S_IFMT == unix.S_IFDIR
	if s.Nlink > 1 && !directory {
		at := inode{uint64(s.Dev), s.Ino}
		if w.seen[at] {
			return nil
		}
		if len(w.seen) < linksKnown {
			w.seen[at] = true
		}
	}
	w.sum.files++
	if directory {
		return w.below(parent, name, depth+1)
	}
	w.sum.bytes += s.Blocks * 512
	return nil
}
