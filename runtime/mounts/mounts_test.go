package mounts_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipway.dev/slipway/runtime/mounts"
)

// What is mounted below a directory is found and undone also where a link leads there: whoever then
// removes the directory must not remove what was mounted.
func TestMountsAreFoundThroughLinks(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	base, data := t.TempDir(), t.TempDir()
	t.Cleanup(func() { must(mounts.UndoBelow(base)) })
	link, inside := filepath.Join(t.TempDir(), "link"), filepath.Join(base, "a b#c", "m")
	must(os.Symlink(base, link))
	must(os.MkdirAll(inside, 0o755))
	must(os.WriteFile(filepath.Join(data, "kept"), nil, 0o644))
	if below, err := mounts.Below(filepath.Join(link, "none")); err != nil || len(below) > 0 {
		t.Errorf("below what is not there: %v, %v", below, err)
	}
	// Twice, one over the other.
	for range 2 {
		must(syscall.Mount(data, inside, "", syscall.MS_BIND, ""))
	}
	through := filepath.Join(link, "a b#c", "m")
	if at, err := mounts.At(through); err != nil || !at {
		t.Errorf("at %s: %v, %v", through, at, err)
	}
	if below, err := mounts.Below(link); err != nil || len(below) != 2 {
		t.Errorf("below %s: %v, %v", link, below, err)
	}
	must(mounts.UndoBelow(link))
	if at, err := mounts.At(through); err != nil || at {
		t.Errorf("at %s afterwards: %v, %v", through, at, err)
	}
	must(os.RemoveAll(base))
	if _, err := os.Stat(filepath.Join(data, "kept")); err != nil {
		t.Error(err)
	}
}
