package datadir_test

import (
	"strings"
	"testing"
	"time"

	"slipway.dev/slipway/cmd/slipway/datadir"
)

// One process works on a directory; one that is just ending is waited for.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := datadir.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Lock(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("a second lock: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { first.Close() })
	second, err := datadir.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
