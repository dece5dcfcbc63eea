package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// staleBelow looks at the files in which a dockerd that was told no other place notes its
// process, and that of the containerd that it starts.
func staleBelow(run string) error {
	return errors.Join(
		stale(filepath.Join(run, "docker.pid"), "dockerd"),
		stale(filepath.Join(run, "docker", "containerd", "containerd.pid"), "containerd"),
	)
}

// stale says so if a pid file names a process that is another program: dockerd then
// refuses to start, for it takes that one for itself, or waits for it in vain, for it takes
// it for its containerd. Docker removes a file whose process is gone.
func stale(file, program string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s holds no process id: remove it and start %s again", file, program)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(name)) == program {
		return nil
	}
	return fmt.Errorf("%s is stale: process %d is %s, not %s: remove it and start %s again", file, pid, strings.TrimSpace(string(name)), program, program)
}
