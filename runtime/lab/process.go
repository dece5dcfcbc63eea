package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is in the environment of every process of a lab, and of what these start; partMarker says which
// host and part it is of.
const (
	marker     = "SLIPWAY_LAB"
	partMarker = "SLIPWAY_LAB_PART"
)

// Part is a process of a host.
type Part string

// The parts of a host. A host has a server or an agent, and with several servers some hosts have a member of
// their etcd cluster.
const (
	Engine Part = "engine" // dockerd, and with it containerd
	Etcd   Part = "etcd"   // slipway lab etcd
	Server Part = "server" // slipway up
	Agent  Part = "agent"  // slipway node
)

// environment is what commands in the host run with.
func (h *Host) environment() []string {
	return append(os.Environ(), h.lab.mark(), "DOCKER_HOST="+h.Socket())
}

// Command is a command that, once it is started by [Host.Do], runs in the host's network,
// with the host's Docker Engine in DOCKER_HOST.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = h.environment()
	return cmd
}

// Run runs a command in the host to its end, and answers with what it wrote.
func (h *Host) Run(name string, args ...string) (string, error) {
	cmd := h.Command(name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := h.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("host %s: %s %s: %w: %s", h.Name, name, strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), err
}

// launch starts a part that outlives this process.
func (h *Host) launch(part Part, name string, args ...string) error {
	log, err := os.OpenFile(h.logFile(part), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := h.Command(name, args...)
	cmd.Env = append(cmd.Env, partMarker+"="+h.Name+"/"+string(part))
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := h.Do(cmd.Start); err != nil {
		return fmt.Errorf("host %s: %s: %w", h.Name, part, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // Its log says why.
	}()
	// For a moment the kernel does not tell yet what the process is.
	for !h.Runs(part) {
		select {
		case <-ended:
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func (h *Host) logFile(part Part) string { return filepath.Join(h.dir(), string(part)+".log") }

// lastWords is the end of a part's log.
func (h *Host) lastWords(part Part) string {
	b, err := os.ReadFile(h.logFile(part))
	if err != nil {
		return err.Error()
	}
	const enough = 1500
	return strings.TrimSpace(string(b[max(0, len(b)-enough):]))
}

// program is what a part's own process is called.
func (h *Host) program(part Part) string {
	if part == Engine {
		return "dockerd"
	}
	return filepath.Base(h.lab.Program)
}

// pids are the processes of a part: its own one, not what it has started.
func (h *Host) pids(part Part) []int {
	return processes(func(environ, argv []string) bool {
		return contains(environ, h.lab.mark()) && contains(environ, partMarker+"="+h.Name+"/"+string(part)) &&
			filepath.Base(argv[0]) == h.program(part) && !contains(argv, "render-child")
	})
}

// Runs says whether a part of the host runs.
func (h *Host) Runs(part Part) bool { return len(h.pids(part)) > 0 }

// Kill ends a part at once (SIGKILL), and waits until it is gone.
func (h *Host) Kill(part Part) error { return kill(func() []int { return h.pids(part) }) }

// kill kills until nothing is found any more: what is killed may just have started another.
func kill(find func() []int) error {
	for range 600 {
		pids := find()
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("processes do not end: %v", find())
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// processes finds processes, without zombies, by their environment and arguments.
func processes(match func(environ, argv []string) bool) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // The pattern is well formed.
	var pids []int
	for _, dir := range dirs {
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || len(environ) == 0 || !bytes.Contains(environ, []byte(marker)) {
			continue // It has ended since, or is the kernel's.
		}
		argv, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(argv) == 0 {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && match(strings.Split(string(environ), "\x00"), strings.Split(string(argv), "\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
