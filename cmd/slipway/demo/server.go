package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ports are where the server of a demo listens, all on loopback.
type ports struct{ api, registry, router, routerTLS int }

// freePorts finds a range that nobody listens on: the usual one if it is free.
func freePorts(first int) (ports, error) {
	for p := first; p < first+1000; p += 10 {
		c := ports{api: p, registry: p + 1, router: p + 1000, routerTLS: p + 1363}
		if c.free() {
			return c, nil
		}
	}
	return ports{}, fmt.Errorf("no free ports from %d upwards", first)
}

func (p ports) free() bool {
	for _, n := range []int{p.api, p.registry, p.router, p.routerTLS} {
		l, err := net.Listen("tcp", loopback(n))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// server is the process that runs everything: `slipway up`.
type server struct {
	exe   string
	args  []string
	env   []string
	log   string
	ports ports
	cmd   *exec.Cmd
	ended chan error
}

func (s *server) url() string { return "http://" + loopback(s.ports.api) }

// start starts the process and waits until it serves; the answer is how long that took.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	logFile, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer logFile.Close()
	began := time.Now()
	s.cmd = exec.Command(s.exe, s.args...)
	s.cmd.Env = s.env
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	// A group of its own: Ctrl-C reaches the story first, which then stops the server.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.cmd.Wait() }()
	for {
		if s.ready(ctx) {
			return time.Since(began), nil
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return 0, fmt.Errorf("the server ended at its start: %w\n%s", orEnded(err), lastLines(s.log, 20))
		case <-ctx.Done():
			return 0, fmt.Errorf("the server does not get ready: %w\n%s", ctx.Err(), lastLines(s.log, 20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

func (s *server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url()+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stop asks the process to end, and waits for it.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	defer func() { s.cmd = nil }()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
		return errors.New("the server did not end within 30 s and was killed")
	}
}

// memoryMB is the resident memory of the process, and the proportional share of it and
// of its children: pages that they share, such as the program itself, count once.
func (s *server) memoryMB() (resident, proportional float64, err error) {
	kb, err := memoryOf(s.cmd.Process.Pid, "Rss:")
	if err != nil {
		return 0, 0, err
	}
	all, err := proportionalOf(s.cmd.Process.Pid)
	return float64(kb) / 1024, float64(all) / 1024, err
}

func proportionalOf(pid int) (int, error) {
	total, err := memoryOf(pid, "Pss:")
	if err != nil {
		return 0, err
	}
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, c := range children {
		list, err := os.ReadFile(c)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(list)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			kb, err := proportionalOf(child)
			if errors.Is(err, fs.ErrNotExist) {
				continue // so has the child
			}
			if err != nil {
				return 0, err
			}
			total += kb
		}
	}
	return total, nil
}

// memoryOf reads a sum, in KiB, of the kernel's account of a process's memory.
func memoryOf(pid int, sum string) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == sum {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("smaps_rollup of process %d has no %s", pid, sum)
}

func lastLines(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
