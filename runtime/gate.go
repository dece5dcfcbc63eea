package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"slipway.dev/slipway/runtime/pause"
)

// A container that joins a sandbox from the pool begins at a gate (see pause.Gate): Docker
// gives it the sandbox's host name, which is not its pod's. The agent sets the right one
// and opens the gate; the container's program has not begun before. Whether somebody
// waits is seen in what the process runs, so that the next agent opens what one left shut.
const (
	// gateMount is where a container has its gate.
	gateMount = "/dev/.slipway"
	gateStart = "start" // the program
	gateFIFO  = "fifo"
	// gateFailed says why a container's program could not be begun.
	gateFailed = "failed"
	// gateSeen says which process was seen to wait. Without it, one that does not wait has
	// not come to the gate yet: it is still the engine's.
	gateSeen = "seen"
	// searchPath is Docker's where neither image nor pod has a PATH.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// gate is the directory of a container's gate, on the node.
func (f files) gate(key types.NamespacedName, uid types.UID, kind Kind, name string, attempt int) string {
	return filepath.Join(f.dir(key, uid), "gates", string(kind)+"_"+name+"_"+strconv.Itoa(attempt))
}

func makeGate(dir string) error {
	program, err := pause.Gate(goruntime.GOARCH)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	start, fifo := filepath.Join(dir, gateStart), filepath.Join(dir, gateFIFO)
	if _, err := os.Stat(start); errors.Is(err, fs.ErrNotExist) {
		next := start + ".next"
		if err := os.WriteFile(next, program, 0o755); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(next, 0o755), os.Rename(next, start)); err != nil {
			return err
		}
	}
	if err := unix.Mkfifo(fifo, 0o666); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Whatever user the container runs as opens it; the umask must not forbid it.
	return os.Chmod(fifo, 0o666)
}

// behindGate has a container begin at the gate in dir. What has no program to run stays as it is: the engine
// refuses it.
func behindGate(m *made, image Image, dir, hostname string) {
	command := m.Config.Entrypoint
	args := m.Config.Cmd
	if len(command) == 0 {
		command = image.Entrypoint
		if len(args) == 0 {
			args = image.Cmd
		}
	}
	argv := slices.Concat([]string(command), []string(args))
	if len(argv) == 0 || argv[0] == "" {
		return
	}
	begin := append([]string{gateMount + "/" + gateStart, gateMount + "/" + gateFIFO}, places(argv[0], m.Config.Env, image.Env)...)
	m.Config.Entrypoint, m.Config.Cmd = slices.Concat(begin, []string{""}, argv), nil
	m.Config.Labels[LabelGate] = argv[0]
	if !slices.ContainsFunc(slices.Concat(m.Config.Env, image.Env), func(e string) bool { return strings.HasPrefix(e, "HOSTNAME=") }) {
		m.Config.Env = append(slices.Clone(m.Config.Env), "HOSTNAME="+hostname)
	}
	m.Host.Mounts = append(slices.Clone(m.Host.Mounts), mount.Mount{Type: mount.TypeBind, Source: dir, Target: gateMount, ReadOnly: true})
}

// places are where a program is looked for, as the engine does: a name without a slash
// in the directories of the PATH.
func places(name string, envs ...[]string) (all []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path := searchPath
	for _, env := range slices.Backward(envs) {
		for _, e := range env {
			if value, ok := strings.CutPrefix(e, "PATH="); ok {
				path = value
			}
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if strings.HasPrefix(dir, "/") {
			all = append(all, filepath.Join(dir, name))
		}
	}
	return all
}

// waitsAtGate says that the process is still the gate's program.
func waitsAtGate(dir string, pid int) bool {
	own, err := os.Stat(filepath.Join(dir, gateStart))
	if err != nil {
		return false
	}
	runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && os.SameFile(own, runs)
}

// atGate tells one start of a container's process from all others.
func atGate(c Container) string {
	return fmt.Sprintf("%d %s", c.PID, c.StartedAt.Format(time.RFC3339Nano))
}

// openGate sets the host name of the container that waits at the gate in dir, and lets it go
// on. It returns when the container's program has begun, or could not be: then failed says why, and so
// does the file of that name.
func openGate(ctx context.Context, dir string, c Container, hostname string) (failed string, err error) {
	if err := nameHost(dir, c.PID, hostname); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, gateSeen), []byte(atGate(c)), 0o600); err != nil {
		return "", err
	}
	return letThrough(ctx, dir, c.PID, c.Program)
}

// letThrough opens the gate, and watches who goes through.
func letThrough(ctx context.Context, dir string, pid int, name string) (failed string, err error) {
	fd, err := unix.Open(filepath.Join(dir, gateFIFO), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	for {
		// Who waits holds the other end until it is the container's program, which does not inherit it.
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		gone := !waitsAtGate(dir, pid)
		n, err := unix.Poll(fds, 50)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", err
		case n > 0 && fds[0].Revents&unix.POLLIN != 0:
			return noteFailure(fd, dir, name)
		case n > 0, gone:
			return "", nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}

func noteFailure(fd int, dir, name string) (string, error) {
	var why [1]byte
	if _, err := unix.Read(fd, why[:]); err != nil {
		return "", err
	}
	failed := fmt.Sprintf("exec: %q: %v", name, syscall.Errno(why[0]))
	if syscall.Errno(why[0]) == syscall.ENOENT && !strings.Contains(name, "/") {
		failed = fmt.Sprintf("exec: %q: executable file not found in $PATH", name)
	}
	return failed, os.WriteFile(filepath.Join(dir, gateFailed), []byte(failed), 0o600)
}

// nameHost sets the host name of the process that waits at the gate in dir, and of no other.
func nameHost(dir string, pid int, hostname string) error {
	return onThread(func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		own, err := os.Stat("/proc/self/ns/uts")
		if err != nil {
			return err
		}
		its, err := ns.Stat()
		if err != nil {
			return err
		}
		// Looked at with the namespace in hand: the process's number is not another's by now.
		if !waitsAtGate(dir, pid) || os.SameFile(own, its) {
			return fmt.Errorf("process %d does not wait at %s", pid, dir)
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWUTS); err != nil {
			return err
		}
		return unix.Sethostname([]byte(hostname))
	})
}

// readGate adds to a container that began at a gate what is known there.
func readGate(dir string, c *Container) error {
	switch c.State {
	case Running:
		seen, err := os.ReadFile(filepath.Join(dir, gateSeen))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.Held = string(seen) != atGate(*c) || waitsAtGate(dir, c.PID)
	case Exited:
		why, err := os.ReadFile(filepath.Join(dir, gateFailed))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		// As the engine says of what it could not start itself.
		c.StartedAt, c.Error = moment(""), string(why)
	}
	return nil
}
