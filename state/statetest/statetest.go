// Package statetest gives tests a live state of their own, on a real embedded etcd.
package statetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/state"
)

// New is a client of an empty live state that nobody else sees, with the defaults and the validation
// that the server runs. All tests of a binary share one
// etcd, which starts with the first of them and ends with the process.
func New(t testing.TB) *state.Client {
	t.Helper()
	store, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return store.ClientAt(fmt.Sprintf("/test-%d", count.Add(1)))
}

var count atomic.Int64

var shared = sync.OnceValues(func() (*state.Store, error) {
	dir, err := os.MkdirTemp("", "slipway-statetest-")
	if err != nil {
		return nil, err
	}
	if err := removeAtExit(dir); err != nil {
		return nil, err
	}
	return state.Open(context.Background(), state.Options{
		DataDir: dir,
		NoSync:  true,

		Default:        api.Default,
		Validate:       api.Validate,
		ValidateUpdate: api.ValidateUpdate,

		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
})

// inherited keeps open the pipes' ends that only the test process has; their closing is the signal.
var inherited []io.Closer

// removeAtExit removes dir when this process is gone, in whatever way it went: a child waits for the
// end of a pipe that closes with its parent.
func removeAtExit(dir string) error {
	cmd := exec.Command("sh", "-c", `read -r _; rm -rf -- "$1"`, "sh", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	inherited = append(inherited, in)
	// In a group of its own, so that an interrupt from the terminal does not end it too early.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
