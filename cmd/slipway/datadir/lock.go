// Package datadir is what servers and nodes have in common in their folders.
package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a lock may outlive its process: one that is killed while it starts another program
// leaves the lock to that until it is executed, which takes milliseconds.
const patience = 2 * time.Second

// Lock makes this process the only one that works on a data directory, wherever live
// state is. The kernel drops the lock with the process.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another `slipway` process works on the data directory %s: stop it first, or give this one another with --data-dir", dir)
	}
	return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
}
