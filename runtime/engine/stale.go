package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// pidFile is where a dockerd that was given no other notes its process.
const pidFile = "/var/run/docker.pid"

// stale says so if a pid file names a process that is another program: dockerd then
// refuses to start, for it takes that one for itself. Docker removes a file whose
// process is gone.
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
