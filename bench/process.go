package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// child runs a part of a measurement in a process of its own, so that its memory is its own.
func child(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("child: which?")
	}
	parts := map[string]func(context.Context, []string) (any, error){
		"render":  renderChild,
		"jsonnet": jsonnetChild,
		"memory":  memoryChild,
		"etcd":    etcdChild,
		"agent":   agentChild,
		// Each in a network namespace of its own.
		"services": servicesChild,
		"traffic":  trafficChild,
		"host":     hostChild,
	}
	do := parts[args[0]]
	if do == nil {
		return fmt.Errorf("child: no %q", args[0])
	}
	answer, err := do(ctx, args[1:])
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(answer)
}

// ran is what a process took.
type ran struct {
	// Seconds of wall time from start to end.
	Seconds float64
	// Peak is the most memory that it and its children held together, in bytes.
	Peak   float64
	Stdout []byte
}

// runProcess runs a command in a folder and follows its memory.
func runProcess(ctx context.Context, dir string, argv ...string) (ran, error) {
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return ran{}, err
	}
	peak := followMemory(cmd.Process.Pid)
	err := cmd.Wait()
	took := time.Since(began).Seconds()
	r := ran{Seconds: took, Peak: peak(), Stdout: []byte(out.String())}
	if err != nil {
		return r, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, last(errs.String()))
	}
	return r, nil
}

// runSelf runs a child of this program and decodes its answer.
func runSelf(ctx context.Context, answer any, args ...string) (ran, error) {
	self, err := os.Executable()
	if err != nil {
		return ran{}, err
	}
	r, err := runProcess(ctx, "", append([]string{self, "child"}, args...)...)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(r.Stdout, answer)
}

// followMemory samples the resident memory of a process and everything below it until
// the returned function is called, which tells the highest sum in bytes. A page that
// several of them share is counted once.
func followMemory(pid int) func() float64 {
	var peak atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			peak.Store(max(peak.Load(), resident(pid)))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(stop)
		<-stopped
		return float64(peak.Load())
	}
}

// resident sums the resident pages of a process and of its descendants.
func resident(pid int) int64 {
	total := shareOf(pid)
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return total
	}
	for _, task := range tasks {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(raw)) {
			if below, err := strconv.Atoi(field); err == nil {
				total += resident(below)
			}
		}
	}
	return total
}

// shareOf is a process's proportional share of its resident pages: a page that is in
// several processes counts in parts. Where the kernel does not tell, it is all of them.
func shareOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return residentOf(pid)
	}
	for line := range strings.Lines(string(raw)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	return residentOf(pid)
}

func residentOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
