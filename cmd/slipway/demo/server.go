package demo

import (
	"context"
	"errors"
	"fmt"
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

// residentMB is the memory of the process and of its children.
func (s *server) residentMB() (float64, error) {
	kb, err := resident(s.cmd.Process.Pid)
	return float64(kb) / 1024, err
}

func resident(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	total := 0
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			total, _ = strconv.Atoi(f[1])
		}
	}
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, c := range children {
		list, err := os.ReadFile(c)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(list)) {
			child, _ := strconv.Atoi(f)
			kb, err := resident(child)
			if err != nil {
				continue
			}
			total += kb
		}
	}
	return total, nil
}

func lastLines(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
