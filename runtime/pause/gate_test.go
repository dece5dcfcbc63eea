package pause_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"slipway.dev/slipway/runtime/pause"
)

// gated starts the gate; what it returns reads the FIFO to its end, which opens the gate.
func gated(t *testing.T, args ...string) (cmd *exec.Cmd, out *strings.Builder, open func() []byte) {
	t.Helper()
	program, err := pause.Gate(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, fifo := filepath.Join(dir, "gate"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out = &strings.Builder{}
	cmd = exec.Command(path, append([]string{fifo}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, []string{"COLOR=blue"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out, func() []byte {
		f, err := os.Open(fifo) // Waits for the gate as the gate waits for it.
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func TestTheGateBecomesItsProgram(t *testing.T) {
	t.Parallel()
	cmd, out, open := gated(t, "/nowhere/sh", "/bin/sh", "", "my-sh", "-c", `echo "$0" "$1" "$2" $# $COLOR; ls -l /proc/self/fd | grep -c /fifo || true`, "zero", "", "two words")
	if said := open(); len(said) != 0 {
		t.Errorf("it said %v", said)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "zero  two words 2 blue\n0\n" {
		t.Errorf("%q", got)
	}
}

func TestTheGateSaysWhyNothingRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want syscall.Errno
	}{
		"none is there":     {[]string{"/nowhere/sh", "/nowhere/else/sh", "", "sh"}, syscall.ENOENT},
		"one may not run":   {[]string{"/nowhere/sh", "/etc/passwd", "/nowhere/else", "", "sh"}, syscall.EACCES},
		"a file, no folder": {[]string{"/etc/passwd/sh", "", "sh"}, syscall.ENOTDIR},
	} {
		cmd, _, open := gated(t, c.args...)
		if said := open(); len(said) != 1 || syscall.Errno(said[0]) != c.want {
			t.Errorf("%s: it said %v, want %d", name, said, c.want)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 127 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}
