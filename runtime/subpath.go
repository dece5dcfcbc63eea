package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"slipway.dev/slipway/runtime/mounts"
)

// subPath mounts volume/sub at target and returns target. What it is was opened inside
// of the volume, and what was opened is mounted: a container that exchanges a directory
// for a link at the same moment cannot lead it elsewhere (CVE-2017-1002101).
func subPath(volume, sub, target string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("subPath %q leads out of the volume", sub)
	}
	mounted, err := mounts.At(target)
	if err != nil {
		return "", err
	}
	if mounted {
		return target, nil
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := openInside(root, sub)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeAll(root, sub); err != nil {
			return "", fmt.Errorf("subPath %q: %w", sub, err)
		}
		f, err = openInside(root, sub)
	}
	if err != nil {
		return "", fmt.Errorf("subPath %q: %w", sub, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return "", fmt.Errorf("subPath %q: is neither a directory nor a file", sub)
	}
	if err := place(target, info.IsDir()); err != nil {
		return "", err
	}
	if err := syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), target, "", syscall.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("subPath %q: mount: %w", sub, err)
	}
	return target, nil
}

// openInside opens without waiting: what a container put there may be a pipe, which
// would have the agent wait for somebody to write.
func openInside(root *os.Root, sub string) (*os.File, error) {
	return root.OpenFile(sub, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// makeAll makes directories that may be used by whoever may use the volume: they have
// its mode, as a kubelet's have.
func makeAll(root *os.Root, sub string) error {
	volume, err := root.Stat(".")
	if err != nil {
		return err
	}
	parts := strings.Split(filepath.Clean(sub), "/")
	for i := range parts {
		at := filepath.Join(parts[:i+1]...)
		if err := root.Mkdir(at, 0o777); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := giveMode(root, at, volume.Mode()&(fs.ModePerm|fs.ModeSetgid)); err != nil {
			return err
		}
	}
	return nil
}

// giveMode changes a directory's mode, which the umask had a say in when it was made.
func giveMode(root *os.Root, at string, mode fs.FileMode) error {
	f, err := root.OpenFile(at, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(mode)
}

// place makes what a mount covers: a directory or a file.
func place(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
