package lab

import (
	"fmt"
	"os"
	"syscall"

	"slipway.dev/slipway/runtime/mounts"
)

// makeDisk gives the host a disk of its own, in this machine's memory, where the lab is to have such.
func (h *Host) makeDisk() error {
	if err := os.MkdirAll(h.dir(), 0o711); err != nil || h.lab.Disk == 0 {
		return err
	}
	if err := syscall.Mount("lab", h.dir(), "tmpfs", 0, fmt.Sprintf("size=%d,mode=711", h.lab.Disk)); err != nil {
		return fmt.Errorf("host %s: disk of %d bytes at %s: %w", h.Name, h.lab.Disk, h.dir(), err)
	}
	return nil
}

// removeDisk unmounts it, and whatever is mounted below.
func (h *Host) removeDisk() error {
	if err := mounts.UndoBelow(h.dir()); err != nil {
		return err
	}
	at, err := mounts.At(h.dir())
	if err != nil || !at {
		return err
	}
	if err := syscall.Unmount(h.dir(), syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", h.dir(), err)
	}
	return nil
}
